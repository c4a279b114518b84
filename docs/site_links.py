"""Hook of MkDocs. The pages link to files of the checkout; some of these have another place on the site."""

PLACES = {
    '](../configs/README.md': '](comparison.md',
    '](../configs/ablation/': '](ablation/',
    '](../tools/benchmarks/': '](benchmarks/',
    '](../../docs/': '](../',
}


def on_page_markdown(markdown: str, **_) -> str:
    """Replaces the links of a page."""
    for file, page in PLACES.items():
        markdown = markdown.replace(file, page)
    return markdown
