'use strict';
document.querySelectorAll('.pm-figure').forEach((figure) => {
  const find = (selector, from = figure) => from.querySelector(selector);
  const all = (selector, from = figure) => [...from.querySelectorAll(selector)];
  const data = JSON.parse(find('.pm-data').textContent);
  const picture = find('.pm-picture'), drawing = find('.pm-map'), readout = find('.pm-readout');
  const NS = drawing.namespaceURI, TOP = 24, STEP = 52, LEAST = 0.15;
  const hex = (address) => '0x' + address.toString(16);
  const size = (bytes) => {
    let unit = 0;
    while (bytes >= 1024 && unit < 6) { bytes /= 1024; unit += 1; }
    return (unit && bytes % 1 ? bytes.toFixed(1) : Math.round(bytes)) + ' ' + ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'][unit];
  };

  // The axis: stretches of addresses, of which long ones are folded.
  const search = (list, is) => {
    let low = 0, high = list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (is(list[middle])) high = middle; else low = middle + 1;
    }
    return low;
  };
  const position = (address) => {
    const found = data.axis[search(data.axis, (part) => part[1] > address)];
    if (!found) return 1;
    const [start, end, from, to] = found;
    return from + (address - start) / (end - start) * (to - from);
  };
  const addressAt = (place) => {
    const found = data.axis[search(data.axis, (part) => part[3] > place)];
    if (!found) return data.end;
    const [start, end, from, to] = found;
    return Math.min(end, start + Math.max(0, place - from) / (to - from) * (end - start));
  };

  const layers = data.layers.map((layer) => {
    const group = find(`[data-layer="${layer.name}"]`, drawing), bar = find('.pm-bar', group);
    let at = 0;
    const ranges = layer.ranges.map(([gap, bytes, kind]) => {
      const start = at + gap;
      at = start + bytes;
      return { start, end: at, kind, from: position(start), to: position(at) };
    });
    return { ...layer, group, bar, ranges, paths: all('path:not(.pm-fold)', bar), folds: all('.pm-fold', bar), isShown: true };
  });
  // How much of a range is of each kind: of a cell, several.
  const partsOf = ({ kind, start, end }) => {
    if (!Array.isArray(kind)) return [[kind, 1]];
    const parts = [];
    for (let index = 0; index < kind.length; index += 2) parts.push([kind[index], kind[index + 1] / (end - start)]);
    return parts;
  };

  let view = { from: 0, to: 1 };
  const cursor = document.createElementNS(NS, 'line');
  cursor.setAttribute('class', 'pm-cursor');
  cursor.setAttribute('y1', TOP - 4);
  drawing.append(cursor);
  cursor.setAttribute('visibility', 'hidden');
  const width = () => Math.max(1, Math.round(drawing.getBoundingClientRect().width));

  const drawLayer = (layer, columns) => {
    const scale = columns / (view.to - view.from), kinds = layer.kinds.length;
    const shares = new Float64Array(columns * kinds);
    const first = search(layer.ranges, (range) => range.to > view.from);
    for (let index = first; index < layer.ranges.length && layer.ranges[index].from < view.to; index += 1) {
      const range = layer.ranges[index], parts = partsOf(range);
      const left = Math.max(0, (range.from - view.from) * scale), right = Math.min(columns, (range.to - view.from) * scale);
      for (let column = Math.floor(left); column < right; column += 1) {
        const part = Math.min(right, column + 1) - Math.max(left, column);
        for (const [kind, share] of parts) shares[column * kinds + kind] += part * share;
      }
    }
    const paths = layer.kinds.map(() => []), runs = layer.kinds.map(() => null);
    const close = (kind) => {
      const run = runs[kind];
      if (run) paths[kind].push(`M${run.at} ${run.top}h${run.length}v${run.tall}h-${run.length}z`);
      runs[kind] = null;
    };
    for (let column = 0; column < columns; column += 1) {
      const at = column * kinds;
      if (layer.sparse) {
        let there = 0, absent = 0;
        layer.kinds.forEach((kind, index) => { if (kind.there) there += shares[at + index]; else absent += shares[at + index]; });
        if (there > 0 && there < LEAST) {
          layer.kinds.forEach((kind, index) => {
            shares[at + index] *= kind.there ? LEAST / there : Math.min(absent, 1 - LEAST) / (absent || 1);
          });
        }
      }
      let below = 0;
      for (let kind = 0; kind < kinds; kind += 1) {
        const part = shares[at + kind];
        const tall = +(100 * Math.min(1, part)).toFixed(1), top = +(100 - tall - 100 * below).toFixed(1);
        below += part;
        const run = runs[kind];
        if (run && run.tall === tall && run.top === top) { run.length += 1; continue; }
        close(kind);
        if (tall > 0) runs[kind] = { at: column, length: 1, top, tall };
      }
    }
    layer.kinds.forEach((_, kind) => { close(kind); layer.paths[kind].setAttribute('d', paths[kind].join('')); });
    layer.bar.setAttribute('viewBox', `0 0 ${columns} 100`);
    const folded = data.axis.filter((part) => part[4]);
    layer.folds.forEach((fold, index) => {
      const middle = ((folded[index][2] + folded[index][3]) / 2 - view.from) * scale;
      fold.setAttribute('d', middle >= 0 && middle <= columns ? `M${middle} 0v100` : '');
    });
  };

  const drawTicks = (columns) => {
    const ticks = find('.pm-ticks'), most = Math.max(2, Math.floor(columns / 130)), found = [];
    const inView = data.axis.filter((part) => !part[4] && part[3] > view.from && part[2] < view.to);
    const plain = inView.map((part) => [Math.max(part[0], addressAt(Math.max(view.from, part[2]))), Math.min(part[1], addressAt(Math.min(view.to, part[3])))]);
    const bytes = plain.reduce((sum, [start, end]) => sum + end - start, 0);
    const step = 2 ** Math.max(12, Math.round(Math.log2(Math.max(1, bytes / most))));
    inView.forEach((part, index) => {
      const [start, end] = plain[index];
      if (part[2] >= view.from) found.push(part[0]);
      for (let at = Math.ceil(start / step) * step; at < end && found.length < 100; at += step) found.push(at);
    });
    let last = -Infinity;
    const shown = [...new Set(found)].sort((a, b) => a - b).flatMap((address) => {
      const x = (position(address) - view.from) / (view.to - view.from) * columns;
      if (x - last < 110) return [];
      last = x;
      const text = document.createElementNS(NS, 'text');
      text.setAttribute('x', x);
      text.setAttribute('y', 14);
      text.setAttribute('text-anchor', x < 50 ? 'start' : x > columns - 50 ? 'end' : 'middle');
      text.textContent = hex(address);
      return [text];
    });
    ticks.replaceChildren(...shown);
  };

  const draw = () => {
    const columns = width();
    let y = TOP;
    for (const layer of layers) {
      layer.group.style.display = layer.isShown ? '' : 'none';
      if (!layer.isShown) continue;
      layer.group.setAttribute('transform', `translate(0 ${y})`);
      y += STEP;
      drawLayer(layer, columns);
    }
    drawing.setAttribute('height', y);
    cursor.setAttribute('y2', y - 4);
    drawTicks(columns);
    const start = addressAt(view.from), end = addressAt(view.to);
    find('.pm-view').value = `${hex(Math.round(start))} to ${hex(Math.round(end))}, ${size(end - start)}`;
  };
  let isPending = false;
  const later = () => {
    if (isPending) return;
    isPending = true;
    requestAnimationFrame(() => { isPending = false; draw(); });
  };

  // A page is 24 pixels wide at most.
  const narrowest = () => {
    const plain = data.axis.find((part) => !part[4]) || data.axis[0];
    return plain ? Math.min(1, (plain[3] - plain[2]) / (plain[1] - plain[0]) * data.page * width() / 24) : 1;
  };
  const show = (from, length) => {
    const span = Math.min(1, Math.max(narrowest(), length));
    const start = Math.min(1 - span, Math.max(0, from));
    view = { from: start, to: start + span };
    later();
  };
  const zoom = (factor, at = 0.5) => {
    const span = view.to - view.from, wanted = Math.min(1, Math.max(narrowest(), span * factor));
    show(view.from + at * (span - wanted), wanted);
  };
  const move = (part) => show(view.from + part * (view.to - view.from), view.to - view.from);

  // What is at a place of the picture, from 0 to 1.
  const tell = (part) => {
    const place = view.from + part * (view.to - view.from), address = Math.floor(addressAt(place));
    const page = Math.floor(address / data.page);
    const lines = [`${hex(page * data.page)}  page ${page}`];
    for (const layer of layers.filter((layer) => layer.isShown)) {
      const range = layer.ranges[search(layer.ranges, (range) => range.end > address)];
      if (!range || range.start > address) continue;
      const where = `${hex(range.start)} to ${hex(range.end)}, ${size(range.end - range.start)}`;
      const text = partsOf(range).map(([kind, share]) => layer.kinds[kind].text + (share < 1 ? ` ${(100 * share).toFixed(1)} %` : '')).join(', ');
      lines.push(`${layer.name}: ${text}  (${where})`);
    }
    readout.value = lines.join('\n');
    cursor.setAttribute('x1', part * width());
    cursor.setAttribute('x2', part * width());
    cursor.setAttribute('visibility', 'visible');
  };

  const partOf = (event) => {
    const box = drawing.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  };
  picture.addEventListener('wheel', (event) => {
    event.preventDefault();
    const [x, y] = event.shiftKey ? [event.deltaY, 0] : [event.deltaX, event.deltaY];
    if (Math.abs(x) > Math.abs(y)) move(x / width()); else zoom(2 ** Math.min(8, Math.max(-8, y / 200)), partOf(event));
  }, { passive: false });

  // Pointers that are down: one drags, two pinch.
  const down = new Map();
  picture.addEventListener('pointerdown', (event) => {
    down.set(event.pointerId, partOf(event));
    picture.setPointerCapture(event.pointerId);
    tell(partOf(event));
  });
  picture.addEventListener('pointermove', (event) => {
    const part = partOf(event), before = down.get(event.pointerId);
    if (before !== undefined && down.size === 1) move(before - part);
    if (before !== undefined && down.size === 2) {
      const [other] = [...down].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      const wide = Math.abs(part - other);
      if (wide > 0.01) zoom(Math.abs(before - other) / wide, (part + other) / 2);
    }
    if (before !== undefined) down.set(event.pointerId, part);
    tell(part);
  });
  ['pointerup', 'pointercancel'].forEach((name) => picture.addEventListener(name, (event) => down.delete(event.pointerId)));
  picture.addEventListener('pointerleave', () => cursor.setAttribute('visibility', 'hidden'));
  picture.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const actions = {
      '+': () => zoom(0.5), '=': () => zoom(0.5), '-': () => zoom(2), 0: () => show(0, 1), Home: () => show(0, view.to - view.from),
      End: () => show(1, view.to - view.from), ArrowLeft: () => move(-0.2), ArrowRight: () => move(0.2),
      ArrowUp: () => zoom(0.5), ArrowDown: () => zoom(2),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
    requestAnimationFrame(() => tell(0.5));
  });
  all('[data-zoom]').forEach((button) => {
    button.onclick = () => ({ in: () => zoom(0.5), out: () => zoom(2), all: () => show(0, 1) })[button.dataset.zoom]();
  });
  all('input[data-layer]').forEach((box) => {
    box.hidden = false;
    box.onchange = () => {
      layers.find((layer) => layer.name === box.dataset.layer).isShown = box.checked;
      draw();
    };
  });
  readout.style.minHeight = `${1.5 * (layers.length + 1) + 1}em`;
  [find('.pm-tools'), readout, find('.pm-keys')].forEach((element) => { element.hidden = false; });
  new ResizeObserver(later).observe(drawing);
  draw();
});
