"""The data sets inside of wrappers, and the files of their samples."""

from typing import Any, Iterator

SINGLE_FILES = ('target_path', 'mask_path', 'seg_map_path')  # keys of a sample beside modality_paths


def base_datasets(dataset: Any) -> Iterator[Any]:
    """Yields the data sets, or their configs, inside of wrappers such as ConcatDataset and RepeatDataset."""
    for inner in getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]:
        yield from [dataset] if inner is None else base_datasets(inner)


def files_of(sample: Any) -> list[str]:
    """Lists the files of a sample, given its dict in the data set or its data sample in a batch."""
    paths = [sample.get('img_path'), *(sample.get('modality_paths') or {}).values()]
    paths += [sample.get(key) for key in SINGLE_FILES]
    return [path for path in dict.fromkeys(paths) if path]
