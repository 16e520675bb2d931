'use strict';

// Draws a dashboard of Grafana's classic model out of what its queries returned: as
// much of Grafana's panels as perfd's dashboards use.

const cell = 38, columns = 24, gap = 8;
const palette = ['#73bf69', '#f2cc0c', '#8ab8ff', '#ff780a', '#f2495c', '#5794f2', '#b877d9', '#705da0', '#37872d', '#fade2a', '#447ebc', '#c15c17'];
const named = {green: '#73bf69', red: '#f2495c', orange: '#ff9830', yellow: '#fade2a', blue: '#5794f2', purple: '#b877d9', text: '#ccccdc', transparent: 'transparent'};
const colour = (c) => named[c] || c;

function element(kind, parent, text, css) {
  const e = document.createElement(kind);
  if (text !== undefined) e.textContent = text;
  if (css) e.className = css;
  parent.append(e);
  return e;
}

const digits = (v) => (Math.abs(v) >= 100 ? v.toFixed(0) : Math.abs(v) >= 10 ? v.toFixed(1) : v.toFixed(2)).replace(/\.0+$/, '');

function scaled(v, base, names) {
  let i = 0;
  while (Math.abs(v) >= base && i < names.length - 1) { v /= base; i++; }
  return digits(v) + names[i];
}

function format(v, unit) {
  if (v === null || v === undefined || Number.isNaN(v)) return '–';
  if (!Number.isFinite(v)) return v > 0 ? '∞' : '−∞';
  switch (unit) {
    case 's': {
      const a = Math.abs(v);
      if (a === 0) return '0 s';
      if (a < 1e-3) return digits(v * 1e6) + ' µs';
      if (a < 1) return digits(v * 1e3) + ' ms';
      if (a < 60) return digits(v) + ' s';
      if (a < 3600) return digits(v / 60) + ' min';
      if (a < 86400) return digits(v / 3600) + ' h';
      return digits(v / 86400) + ' days';
    }
    case 'percentunit': return digits(v * 100) + '%';
    case 'reqps': return digits(v) + ' req/s';
    case 'bytes': return scaled(v, 1024, [' B', ' KiB', ' MiB', ' GiB', ' TiB']);
    case 'Bps': return scaled(v, 1000, [' B/s', ' kB/s', ' MB/s', ' GB/s']);
    case 'short': return scaled(v, 1000, ['', ' K', ' Mil', ' Bil']);
    case 'dateTimeAsIso': return new Date(v).toISOString().slice(0, 19).replace('T', ' ');
    default: return Number.isInteger(v) ? String(v) : digits(v);
  }
}

function mapped(v, field) {
  for (const m of field.mappings || []) {
    const o = m.options[String(v)];
    if (o) return o;
  }
  return null;
}

function threshold(v, field) {
  let c = 'text';
  for (const s of (field.thresholds || {steps: []}).steps) if (s.value === null || v >= s.value) c = s.color;
  return colour(c);
}

const legend = (pattern, labels) => (pattern || '').replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] || '').replace(/ +/g, ' ').trim();

function series(panel) {
  const all = [];
  panel.targets.forEach((t, i) => {
    for (const r of panel.results[i].result || []) {
      const name = legend(t.legendFormat, r.metric);
      all.push({name, labels: r.metric, values: (r.values || (r.value ? [r.value] : [])).map(([at, v]) => [at, v === '+Inf' ? Infinity : Number(v)])});
    }
  });
  return all;
}

function nothing(body, panel) {
  element('div', body, panel.fieldConfig.defaults.noValue || 'No data', 'none');
}

function drawStat(panel, body) {
  const all = series(panel), field = panel.fieldConfig.defaults;
  const box = element('div', body, '', 'stat');
  if (!all.length) { box.textContent = field.noValue || 'none'; box.style.color = '#7b8087'; return; }
  const v = all[0].values.at(-1)[1], m = mapped(v, field);
  box.textContent = panel.options.textMode === 'name' ? all.map((s) => s.name).join(', ') : m ? m.text : format(v, field.unit);
  box.style.color = m ? colour(m.color) : threshold(v, field);
  if (box.textContent.length > 12) box.style.fontSize = '19px';
}

function marks(u) {
  const c = u.ctx;
  c.save();
  for (const m of dashboard.marks) {
    c.strokeStyle = colour(m.color);
    c.lineWidth = 1;
    c.setLineDash([4, 3]);
    for (const r of m.result || []) {
      const began = new Set();
      let last = -Infinity;
      for (const [at, v] of r.values || []) {
        if (m.value_is_time) began.add(Number(v) / 1000);
        else if (at - last > 60) began.add(at);
        last = at;
      }
      for (const at of began) {
        if (at < dashboard.from || at > dashboard.to) continue;
        const x = Math.round(u.valToPos(at, 'x', true)) + 0.5;
        c.beginPath();
        c.moveTo(x, u.bbox.top);
        c.lineTo(x, u.bbox.top + u.bbox.height);
        c.stroke();
      }
    }
  }
  c.restore();
}

function rule(u, panel) {
  const {thresholds, custom} = panel.fieldConfig.defaults;
  if (!custom || !custom.thresholdsStyle || !thresholds) return;
  const c = u.ctx;
  c.save();
  for (const s of thresholds.steps) {
    if (s.value === null) continue;
    const y = Math.round(u.valToPos(s.value, 'y', true)) + 0.5;
    if (y < u.bbox.top || y > u.bbox.top + u.bbox.height) continue;
    c.strokeStyle = colour(s.color);
    c.beginPath();
    c.moveTo(u.bbox.left, y);
    c.lineTo(u.bbox.left + u.bbox.width, y);
    c.stroke();
  }
  c.restore();
}

// Bytes are counted in powers of two, and so are the steps of their axes.
const powers = Array.from({length: 50}, (_, i) => 2 ** i);

function drawGraph(panel, body, width, height) {
  const field = panel.fieldConfig.defaults, all = series(panel);
  if (!all.length) return nothing(body, panel);
  const times = [];
  for (let t = dashboard.from; t <= dashboard.to; t += dashboard.step) times.push(t);
  const at = new Map(times.map((t, i) => [t, i]));
  const filled = all.map((s) => {
    const v = new Array(times.length).fill(null);
    for (const [t, x] of s.values) v[at.get(t)] = Number.isFinite(x) ? x : null;
    return v;
  });
  const stack = field.custom.stacking.mode === 'normal';
  let drawn = filled;
  if (stack) {
    const sum = new Array(times.length).fill(0);
    drawn = filled.map((v) => v.map((x, i) => (sum[i] += x || 0)));
  }
  const shown = Math.min(all.length, Math.max(3, Math.floor(height * 0.35 / 16)));
  const plot = element('div', body);
  const look = all.map((s, i) => /^limit|^asked/.test(s.name) ? {stroke: s.name.startsWith('limit') ? '#e02f44' : '#808080', dash: [8, 6], width: 2} : {stroke: palette[i % palette.length], width: 1.5, fill: stack ? palette[i % palette.length] + '55' : undefined});
  // The highest of a stack is drawn first, so that the ones below stay visible.
  const order = all.map((_, i) => i);
  if (stack) order.reverse();
  new uPlot({
    width, height: height - 20 - (shown + 1) * 16, legend: {show: false}, cursor: {show: false},
    scales: {
      x: {min: dashboard.from, max: dashboard.to},
      y: {range: (u, min, max) => {
        const {custom, thresholds} = field;
        for (const s of custom.thresholdsStyle ? thresholds.steps : []) if (s.value !== null && s.value <= 1) { min = Math.min(min, s.value); max = Math.max(max, s.value); }
        const lo = field.min === 0 ? 0 : min;
        const room = (max - lo || Math.abs(max) || 1) * 0.08;
        return [field.min === 0 ? 0 : lo - room, max + room];
      }},
    },
    axes: [
      {stroke: '#9fa7b3', grid: {stroke: '#24272d'}, ticks: {show: false}, size: 24, font: '11px DejaVu Sans', values: (u, v) => v.map((t) => new Date(t * 1000).toISOString().slice(11, 16))},
      {stroke: '#9fa7b3', grid: {stroke: '#24272d'}, ticks: {show: false}, size: 74, font: '11px DejaVu Sans', incrs: field.unit === 'bytes' ? powers : undefined, values: (u, v) => v.map((x) => format(x, field.unit))},
    ],
    series: [{}, ...order.map((i) => ({...look[i], spanGaps: false, points: {show: false}}))],
    hooks: {draw: [marks, (u) => rule(u, panel)]},
  }, [times, ...order.map((i) => drawn[i])], plot);
  const key = element('table', element('div', body, undefined, 'legend'));
  const head = element('tr', key);
  for (const [i, title] of ['Name', 'Last', 'Max'].entries()) element('th', head, title, i ? 'n' : '');
  all.slice(0, shown).forEach((s, i) => {
    const tr = element('tr', key), name = element('td', tr), finite = filled[i].filter((v) => v !== null);
    const dot = element('span', name, '', 'key');
    dot.style.background = look[i].stroke;
    name.append(i === shown - 1 && all.length > shown ? `${s.name}, and ${all.length - shown} more` : s.name);
    element('td', tr, format(finite.at(-1), field.unit), 'n');
    element('td', tr, format(finite.length ? Math.max(...finite) : null, field.unit), 'n');
  });
}

function merged(panel) {
  const frames = panel.targets.map((t, i) => {
    const field = panel.targets.length > 1 ? 'Value #' + t.refId : 'Value';
    return (panel.results[i].result || []).map((r) => ({...r.metric, [field]: r.value[1] === '+Inf' ? Infinity : Number(r.value[1])}));
  }).filter((rows) => rows.length);
  if (!frames.length) return [];
  const fields = frames.map((rows) => new Set(rows.flatMap(Object.keys)));
  const shared = [...fields[0]].filter((f) => fields.every((s) => s.has(f)));
  if (frames.length === 1) return frames[0];
  const rows = [];
  for (const row of frames.flat()) {
    const same = rows.find((r) => shared.every((f) => (r[f] || '') === (row[f] || '')) && Object.keys(row).every((f) => shared.includes(f) || r[f] === undefined));
    if (same) Object.assign(same, row);
    else rows.push({...row});
  }
  return rows;
}

function drawTable(panel, body) {
  const rows = merged(panel);
  if (!rows.length) return nothing(body, panel);
  const organize = panel.transformations.find((t) => t.id === 'organize').options;
  const fields = Object.entries(organize.indexByName).sort((a, b) => a[1] - b[1]).map(([f]) => f);
  const table = element('table', body), head = element('tr', table);
  const number = (f) => f.startsWith('Value');
  for (const f of fields) element('th', head, organize.renameByName[f], number(f) ? 'n' : '');
  const by = (panel.options.sortBy || [])[0];
  if (by) {
    const f = fields.find((f) => organize.renameByName[f] === by.displayName);
    rows.sort((a, b) => (b[f] ?? -Infinity) - (a[f] ?? -Infinity));
  } else rows.sort((a, b) => fields.filter((f) => !number(f)).map((f) => (a[f] || '').localeCompare(b[f] || '')).find((c) => c) || 0);
  for (const row of rows) {
    const tr = element('tr', table);
    for (const f of fields) {
      const field = {unit: 'none'};
      for (const o of panel.fieldConfig.overrides) if (o.matcher.options === organize.renameByName[f]) for (const p of o.properties) field[p.id] = p.value;
      const v = row[f], m = number(f) ? mapped(v, field) : null;
      const td = element('td', tr, m ? m.text : number(f) ? format(v, field.unit) : v || '–', number(f) ? 'n' : '');
      if (m) td.style.color = colour(m.color);
      else if (number(f) && field.thresholds && v !== undefined) td.style.color = threshold(v, field);
    }
  }
}

function drawTimeline(panel, body, width) {
  const all = series(panel), field = panel.fieldConfig.defaults, span = dashboard.to - dashboard.from;
  if (!all.length) return nothing(body, panel);
  const grid = element('div', body, undefined, 'states');
  for (const s of all) {
    element('span', grid, s.name);
    const bar = element('div', grid, undefined, 'bar');
    s.values.forEach(([t, v], i) => {
      const m = mapped(v, field), i0 = element('i', bar), end = i + 1 < s.values.length ? s.values[i + 1][0] : dashboard.to;
      i0.style.left = (t - dashboard.from) / span * 100 + '%';
      i0.style.width = (end - t) / span * 100 + 0.1 + '%';
      i0.style.background = m ? colour(m.color) : '#555';
    });
  }
  const key = element('div', body, undefined, 'legend');
  key.style.marginTop = '8px';
  for (const m of field.mappings) for (const o of Object.values(m.options)) {
    const dot = element('span', key, '', 'key');
    dot.style.background = colour(o.color);
    element('span', key, o.text + '   ').style.marginRight = '14px';
  }
}

// Buckets of a heat map: of native histograms as they are, of classic ones the difference to the bound below.
function buckets(panel) {
  const cells = [];
  for (const r of panel.results[0].result || []) {
    for (const [t, h] of r.histograms || []) for (const [, low, high, n] of h.buckets || []) cells.push({t, low: Number(low), high: Number(high), n: Number(n)});
  }
  if (cells.length) return cells;
  const bounds = (panel.results[0].result || []).filter((r) => r.values).sort((a, b) => Number(a.metric.le.replace('+Inf', 'Infinity')) - Number(b.metric.le.replace('+Inf', 'Infinity')));
  bounds.forEach((r, i) => {
    const high = Number(r.metric.le.replace('+Inf', 'Infinity')), low = i ? Number(bounds[i - 1].metric.le) : high / 2;
    const below = new Map(i ? bounds[i - 1].values : []);
    if (Number.isFinite(high)) for (const [t, n] of r.values) cells.push({t, low, high, n: Number(n) - Number(below.get(t) || 0)});
  });
  return cells;
}

function drawHeat(panel, body, width, height) {
  const cells = buckets(panel).filter((c) => c.n > 1e-9 && c.low > 0);
  if (!cells.length) return nothing(body, panel);
  const low = Math.log(Math.min(...cells.map((c) => c.low))), high = Math.log(Math.max(...cells.map((c) => c.high)));
  const times = [...new Set(cells.map((c) => c.t))].sort((a, b) => a - b);
  const step = times.length > 1 ? Math.min(...times.slice(1).map((t, i) => t - times[i])) : 1;
  const most = Math.max(...cells.map((c) => c.n));
  new uPlot({
    width, height: height - 24, legend: {show: false}, cursor: {show: false},
    scales: {x: {min: dashboard.from, max: dashboard.to}, y: {distr: 3, range: () => [Math.exp(low), Math.exp(high)]}},
    axes: [
      {stroke: '#9fa7b3', grid: {show: false}, ticks: {show: false}, size: 24, font: '11px DejaVu Sans', values: (u, v) => v.map((t) => new Date(t * 1000).toISOString().slice(11, 16))},
      {stroke: '#9fa7b3', grid: {show: false}, ticks: {show: false}, size: 74, font: '11px DejaVu Sans', filter: (u, splits) => splits, splits: () => [1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1, 3, 10, 30].filter((v) => Math.log(v) >= low && Math.log(v) <= high), values: (u, v) => v.map((x) => format(x, 's'))},
    ],
    series: [{}, {show: false}],
    hooks: {draw: [(u) => {
      for (const c of cells) {
        const x0 = u.valToPos(c.t - step, 'x', true), x1 = u.valToPos(c.t, 'x', true), y0 = u.valToPos(c.high, 'y', true), y1 = u.valToPos(c.low, 'y', true);
        const share = Math.round(Math.sqrt(c.n / most) * 12) / 12;
        u.ctx.fillStyle = `rgb(${Math.round(40 + 215 * share)}, ${Math.round(30 + 130 * share)}, ${Math.round(30 + 20 * share)})`;
        const left = Math.max(u.bbox.left, Math.floor(x0));
        u.ctx.fillRect(left, Math.floor(y0), Math.ceil(x1) - left, Math.ceil(y1) - Math.floor(y0));
      }
    }, marks]},
  }, [times, times.map(() => null)], element('div', body));
}

const drawers = {stat: drawStat, timeseries: drawGraph, table: drawTable, 'state-timeline': drawTimeline, heatmap: drawHeat};

document.querySelector('h1').textContent = dashboard.title;
document.querySelector('header p').textContent = dashboard.description;
const chips = document.querySelector('.chips');
for (const [name, v] of Object.entries(dashboard.variables)) {
  if (name === 'seconds') element('span', chips, 'histograms: ' + (v === 'seconds' ? 'native' : 'classic'));
  else if (!name.startsWith('__')) element('span', chips, `${name}: ${v.replace(/[\\()]/g, '').replaceAll('|', ', ')}`.slice(0, 48));
}
for (const m of dashboard.marks) element('span', chips, '┆ ' + m.name).style.color = colour(m.color);
const grid = document.getElementById('grid'), unit = (window.innerWidth - 20) / columns;
for (const p of dashboard.panels) {
  const g = p.gridPos, box = element('div', grid, undefined, 'panel panel-' + p.type);
  const width = g.w * unit - gap, height = g.h * cell - gap;
  Object.assign(box.style, {left: g.x * unit + gap / 2 + 'px', top: g.y * cell + 'px', width: width + 'px', height: height + 'px'});
  if (p.type === 'row') { box.textContent = p.title; continue; }
  element('h2', box, p.title);
  drawers[p.type](p, box, width - 22, height - 16);
}
