// Draws the charts of report.html as SVG: curves with a cursor and a legend that hides them, and heat maps.
'use strict';

const HEIGHT = 220, LEFT = 52, BOTTOM = 22, TOP = 8, RIGHT = 12; // of curves, in pixels
const DASHES = ['', '6 3', '2 3', '9 3 2 3'];

const escapeText = text => String(text).replace(/[&<>"]/g, character => `&#${character.charCodeAt(0)};`);
const format = value => (value && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6) ? value.toExponential(1) : String(+value.toPrecision(4)));

// Returns round numbers between low and high: about `number` of them, or 1, 2 and 5 times powers of ten.
function ticks(low, high, number, log) {
  const found = [];
  if (log) {
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
      for (const factor of high / low < 100 ? [1, 2, 5] : [1]) found.push(factor * 10 ** power);
    }
    return found.filter(tick => tick >= low && tick <= high);
  }
  const rough = (high - low) / number, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find(factor => factor * power >= rough);
  for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(i * step);
  return found;
}

function drawLines(figure, chart) {
  const plot = document.createElement('div'), legend = document.createElement('div');
  legend.className = 'legend';
  const style = series => `stroke: var(--c${series.color % 8}); stroke-dasharray: ${DASHES[series.dash % 4]}`;
  legend.innerHTML = chart.series.map(series =>
    `<button type="button"><svg width="24" height="8"><path class="curve" d="M0 4H24" style="${style(series)}"/></svg>` +
    `<span>${escapeText([series.run, series.name].filter(Boolean).join(': '))} <b></b></span></button>`).join('');
  figure.append(plot, legend);
  let cursor = null;

  const draw = () => {
    const width = plot.clientWidth - LEFT - RIGHT, height = HEIGHT - TOP - BOTTOM;
    const shown = chart.series.filter(series => !series.hidden);
    const all = shown.flatMap(series => series.points).filter(point => !chart.log || point[1] > 0);
    const [xs, ys] = [0, 1].map(axis => all.map(point => point[axis]));
    const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
    let [y0, y1] = [Math.min(...ys), Math.max(...ys)];
    if (y0 === y1) [y0, y1] = chart.log ? [y0 / 2, y1 * 2] : [y0, y1 + 1];
    const map = chart.log ? Math.log : value => value;
    const toX = x => LEFT + (x1 > x0 ? (x - x0) / (x1 - x0) : 0.5) * width;
    const toY = y => TOP + (map(y1) - map(y)) / (map(y1) - map(y0)) * height;
    let svg = '';
    if (all.length) {
      for (const tick of ticks(y0, y1, 5, chart.log)) {
        svg += `<path class="axis" d="M${LEFT} ${toY(tick)}h${width}"/>` +
          `<text x="${LEFT - 6}" y="${toY(tick) + 4}" text-anchor="end">${format(tick)}</text>`;
      }
      for (const tick of x1 > x0 ? ticks(x0, x1, width / 60) : [x0]) {
        svg += `<text x="${toX(tick)}" y="${HEIGHT - 6}" text-anchor="middle">${format(tick)}</text>`;
      }
      for (const series of shown) {
        const points = series.points.filter(point => !chart.log || point[1] > 0);
        svg += `<path class="curve" style="${style(series)}" d="M${points.map(([x, y]) => `${toX(x).toFixed(1)} ${toY(y).toFixed(1)}`).join('L')}"/>`;
        if (points.length < 30) {
          svg += points.map(([x, y]) => `<circle cx="${toX(x)}" cy="${toY(y)}" r="2.5" style="fill: var(--c${series.color % 8})"/>`).join('');
        }
      }
    }
    const at = cursor === null ? x1 : x0 + (cursor - LEFT) / width * (x1 - x0);
    const nearest = points => points.reduce((best, point) => (Math.abs(point[0] - at) < Math.abs(best[0] - at) ? point : best), points[0]);
    if (cursor !== null && all.length) {
      const [x] = nearest(all);
      svg += `<path class="axis" style="stroke: var(--soft)" d="M${toX(x)} ${TOP}v${height}"/>` +
        `<text x="${toX(x)}" y="${TOP + 10}" dx="${x > (x0 + x1) / 2 ? -4 : 4}" text-anchor="${x > (x0 + x1) / 2 ? 'end' : 'start'}">${format(x)}</text>`;
    }
    plot.innerHTML = `<svg width="100%" height="${HEIGHT}" role="img">${svg}</svg>`;
    chart.series.forEach((series, i) => {
      const button = legend.children[i];
      button.setAttribute('aria-pressed', !series.hidden);
      button.querySelector('b').textContent = series.points.length ? format(nearest(series.points)[1]) : '';
    });
  };
  const move = event => {
    cursor = event.clientX - plot.getBoundingClientRect().left;
    draw();
  };
  plot.addEventListener('pointermove', move);
  plot.addEventListener('pointerdown', move);
  plot.addEventListener('pointerleave', () => { cursor = null; draw(); });
  legend.addEventListener('click', event => {
    const button = event.target.closest('button');
    if (!button) return;
    const series = chart.series[[...legend.children].indexOf(button)];
    series.hidden = !series.hidden;
    draw();
  });
  return draw;
}

function drawHeat(figure, chart) {
  const plot = document.createElement('div'), readout = document.createElement('output');
  plot.className = 'scroll';
  figure.append(plot, readout);
  const left = 10 + 6.3 * Math.max(...chart.rows.map(name => name.length));
  const top = chart.square ? left : 2;

  plot.addEventListener('pointerover', event => {
    const { row, column } = event.target.dataset;
    if (row === undefined) return;
    const count = chart.counts ? ` (${chart.counts[row][column].toLocaleString('en')} pixels)` : '';
    const pair = chart.square ? `${chart.rows[row]}, predicted as ${chart.columns[column]}` : `${chart.rows[row]}, ${chart.columns[column]}`;
    readout.textContent = `${pair}: ${format(chart.values[row][column])} %${count}`;
  });
  return () => {
    const number = chart.columns.length, room = (plot.clientWidth - left - 2) / number;
    const width = chart.square ? Math.min(24, Math.max(11, room)) : Math.max(3, room);
    const height = chart.square ? width : 15;
    let svg = '';
    chart.rows.forEach((name, row) => {
      const y = top + row * height;
      svg += `<text x="${left - 6}" y="${y + height / 2 + 4}" text-anchor="end">${escapeText(name)}</text>`;
      chart.values[row].forEach((value, column) => {
        svg += `<rect class="cell" x="${left + column * width}" y="${y}" width="${width}" height="${height}" fill-opacity="${Math.sqrt(value / 100).toFixed(3)}" data-row="${row}" data-column="${column}"/>`;
      });
    });
    const right = left + number * width, bottom = top + chart.rows.length * height;
    svg += `<rect class="frame" x="${left}" y="${top}" width="${number * width}" height="${bottom - top}" pointer-events="none"/>`;
    if (chart.square) {
      chart.columns.forEach((name, column) => {
        svg += `<text transform="translate(${left + (column + 0.5) * width + 4} ${top - 6}) rotate(-90)">${escapeText(name)}</text>`;
      });
    } else {
      svg += `<text x="${left}" y="${bottom + 14}">${chart.ends[0]}</text><text x="${right}" y="${bottom + 14}" text-anchor="end">${chart.ends[1]}</text>`;
    }
    plot.innerHTML = `<svg width="${right + 2}" height="${bottom + (chart.square ? 2 : 18)}" role="img">${svg}</svg>`;
  };
}

for (const figure of document.querySelectorAll('figure.chart')) {
  const chart = JSON.parse(figure.querySelector('script').textContent);
  const draw = (chart.kind === 'heat' ? drawHeat : drawLines)(figure, chart);
  draw();
  addEventListener('resize', draw);
}
