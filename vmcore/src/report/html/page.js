(() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const get = (id) => document.getElementById(id);
  const main = get('report');
  const links = all('nav a');
  const sections = all('section', main);
  get('tools').hidden = false;

  // The theme: the system's until it is switched.
  const root = document.documentElement;
  const system = matchMedia('(prefers-color-scheme: dark)');
  const stored = 'memtool-report-theme';
  const isDark = () => (root.dataset.theme ? root.dataset.theme === 'dark' : system.matches);
  const showTheme = () => get('theme').setAttribute('aria-pressed', isDark());
  try {
    const theme = localStorage.getItem(stored);
    if (theme) root.dataset.theme = theme;
  } catch { /* Pages of files need not have a storage. */ }
  get('theme').onclick = () => {
    root.dataset.theme = isDark() ? 'light' : 'dark';
    try { localStorage.setItem(stored, root.dataset.theme); } catch { /* It holds for this page. */ }
    showTheme();
  };
  system.addEventListener('change', showTheme);
  showTheme();

  // Folding.
  const fold = (isOpen) => {
    parts.all.forEach((part) => part.fold(isOpen));
    for (const details of all('details', main)) {
      if (isOpen) parts.open(details);
      details.open = isOpen;
    }
    parts.all.filter((part) => part.groups.length && part.details.open).forEach((part) => part.measure());
  };
  get('open').onclick = () => fold(true);
  get('close').onclick = () => fold(false);
  let opened = null, unfolded = [];
  addEventListener('beforeprint', () => {
    opened = new Set(all('details[open]', main));
    unfolded = parts.all.filter((part) => part.isUnfolded);
    parts.all.forEach((part) => { part.details.open = true; part.print(); });
    fold(true);
  });
  addEventListener('afterprint', () => {
    all('.unprinted', main).forEach((note) => note.remove());
    parts.all.forEach((part) => part.fold(unfolded.includes(part)));
    all('details[open]', main).filter((details) => !opened.has(details)).forEach((details) => { details.open = false; });
  });

  // The section that is read.
  const top = () => get('tools').getBoundingClientRect().height + 24;
  const mark = () => {
    const limit = top() + 16;
    let current = 0;
    sections.forEach((section, index) => { if (section.getBoundingClientRect().top <= limit) current = index; });
    links.forEach((link, index) => {
      if (index !== current) return link.removeAttribute('aria-current');
      if (link.hasAttribute('aria-current')) return;
      link.setAttribute('aria-current', 'true');
      const list = link.closest('nav');
      if (list.scrollWidth > list.clientWidth) list.scrollLeft = link.offsetLeft - list.clientWidth / 3;
    });
  };
  let isPending = false;
  const later = () => {
    if (isPending) return;
    isPending = true;
    requestAnimationFrame(() => { isPending = false; mark(); });
  };
  addEventListener('scroll', later, { passive: true });
  addEventListener('resize', later);
  // Heights of what has not been shown yet are guesses: what goes somewhere corrects itself when they are known.
  let goal = null;
  const settle = (scroll, frames = 3) => {
    goal = scroll;
    scroll();
    if (parts.all.map((part) => part.makeNear()).includes(true)) scroll();
    if (frames) requestAnimationFrame(() => { if (goal === scroll) settle(scroll, frames - 1); });
  };
  const unfold = () => {
    const section = sections.find((section) => '#' + section.id === location.hash);
    if (!section) return;
    all('.long', section).filter((details) => !details.closest('.stack')).forEach((details) => {
      details.open = true;
      parts.open(details);
    });
    settle(() => section.scrollIntoView());
  };
  addEventListener('hashchange', unfold);
  links.forEach((link) => { link.onclick = () => setTimeout(unfold); });
  unfold();
  mark();

  // Search: the text of the report in one string, and where in it each text node, or part that is data, begins.
  const MOST = 100000, MARKED = 5000;
  const field = get('search'), count = get('count');
  const hasMarks = 'highlights' in CSS;
  const own = parts.ENDING.split(',').map((name) => name + ':not(.group *, pre.data)').join(',');
  const partOf = new Map(parts.all.map((part) => [part.script, part]));
  let text = null, index = null, hits = [], at = -1, length = 0, marks = null;
  const lower = (data) => {
    const changed = data.toLowerCase();
    return changed.length === data.length ? changed : data;
  };
  const read = () => {
    const found = [];
    index = { nodes: [], starts: [], size: 0 };
    for (const place of main.querySelectorAll(own + ',script')) {
      const part = partOf.get(place);
      if (part) {
        index.nodes.push(part);
        index.starts.push(index.size);
        part.starts = [];
        for (const item of part.texts(lower)) {
          part.starts.push(index.size);
          found.push(item);
          index.size += item.length;
        }
        part.starts.push(index.size);
      } else if (place.localName !== 'script') {
        const first = index.nodes.length;
        parts.collect(place, index);
        for (let node = first; node < index.nodes.length; node += 1) found.push(lower(index.nodes[node].data));
        found.push('\n');
        index.size += 1;
      }
    }
    text = found.join('');
  };
  const pieceAt = (hit) => index.nodes[parts.lastUpTo(index.starts, hit)];
  const range = (hit) => {
    const piece = pieceAt(hit);
    return piece.details ? piece.range(hit, length) : parts.rangeIn(index, hit, hit + length);
  };
  // Which hit is the first that is not before this place.
  const hitFrom = (place) => {
    const before = parts.lastUpTo(hits, place);
    return before < hits.length && hits[before] < place ? before + 1 : before;
  };
  const highlight = (first, last) => {
    for (let hit = first; hit < last && marks && marks.size < MARKED; hit += 1) {
      const found = range(hits[hit]);
      if (found) marks.add(found);
    }
  };
  const show = (element, found) => {
    if (found) element.dataset.hits = found; else delete element.dataset.hits;
  };
  // Items of a part that have been made.
  const badgeMade = (part, item, items) => {
    if (part.kind !== 'stacks') return;
    for (let number = item; number < item + items; number += 1) {
      show(part.madeOf(number).querySelector('.what'), hitFrom(part.starts[number + 1]) - hitFrom(part.starts[number]));
    }
  };
  parts.all.forEach((part) => {
    part.onBuilt = (item, items) => {
      if (text === null) return;
      badgeMade(part, item, items);
      highlight(hitFrom(part.starts[item]), hitFrom(part.starts[item + items]));
    };
  });
  const badges = () => {
    const counts = new Map();
    let known = null, places = [];
    for (const hit of hits) {
      const piece = pieceAt(hit);
      if (piece !== known) {
        known = piece;
        places = [];
        let element = piece.details || piece.parentElement;
        while ((element = element.closest('details,section'))) {
          places.push(element);
          element = element.parentElement;
        }
      }
      for (const place of places) counts.set(place, (counts.get(place) || 0) + 1);
    }
    sections.forEach((section, index) => show(links[index], counts.get(section)));
    all('details:not(.group *)', main).forEach((details) => show(details.querySelector('.what'), counts.get(details)));
    for (const part of parts.all) for (const { first, items, isBuilt } of part.groups) if (isBuilt) badgeMade(part, first, items);
  };
  const tell = () => {
    const found = hits.length.toLocaleString('en') + (hits.length === MOST ? '+' : '');
    if (!length) count.value = '';
    else if (!hits.length) count.value = 'No hits';
    else count.value = at < 0 ? found + (hits.length === 1 ? ' hit' : ' hits') : `${(at + 1).toLocaleString('en')} of ${found}`;
    get('next').disabled = get('previous').disabled = !hits.length;
  };
  const find = () => {
    if (text === null) read();
    const wanted = lower(field.value);
    hits = [];
    at = -1;
    length = wanted.length;
    for (let hit = length ? text.indexOf(wanted) : -1; hit >= 0 && hits.length < MOST; hit = text.indexOf(wanted, hit + length)) hits.push(hit);
    if (hasMarks) {
      marks = new Highlight();
      CSS.highlights.delete('now');
      CSS.highlights.set('hit', marks);
      highlight(0, hits.length);
    }
    badges();
    tell();
  };
  const go = (step) => {
    if (timer) { clearTimeout(timer); timer = 0; find(); }
    if (!hits.length) return;
    at = at < 0 ? (step > 0 ? 0 : hits.length - 1) : (at + step + hits.length) % hits.length;
    const piece = pieceAt(hits[at]);
    const found = piece.details ? piece.show(hits[at], length) : range(hits[at]), parent = found.startContainer.parentElement;
    for (let details = parent.closest('details'); details; details = details.parentElement.closest('details')) {
      if (parent.closest('summary')?.parentElement !== details) details.open = true;
    }
    settle(() => {
      parent.scrollIntoView({ block: 'nearest' });
      const box = found.getBoundingClientRect();
      scrollBy(0, box.top - innerHeight / 2);
      const scroller = parent.closest('pre,.scroll');
      if (!scroller) return;
      const edge = scroller.getBoundingClientRect();
      if (box.left < edge.left || box.right > edge.right) scroller.scrollLeft += box.left - edge.left - edge.width / 3;
    });
    if (hasMarks) {
      const now = new Highlight(found);
      now.priority = 1;
      CSS.highlights.set('now', now);
    } else {
      getSelection().removeAllRanges();
      getSelection().addRange(found);
    }
    tell();
  };
  let timer = 0;
  field.oninput = () => {
    clearTimeout(timer);
    timer = setTimeout(() => { timer = 0; find(); }, 120);
  };
  get('tools').onsubmit = (event) => { event.preventDefault(); go(1); };
  get('next').onclick = () => go(1);
  get('previous').onclick = () => go(-1);
  field.onkeydown = (event) => {
    if (event.key === 'Enter' && event.shiftKey) { event.preventDefault(); go(-1); }
    if (event.key === 'Escape') { field.value = ''; find(); field.blur(); }
  };
  addEventListener('keydown', (event) => {
    if (event.key !== '/' || event.ctrlKey || event.altKey || event.metaKey || event.target === field) return;
    event.preventDefault();
    field.focus();
    field.select();
  });

  // Tables that sort, numbers by their value.
  const collator = new Intl.Collator('en', { numeric: true });
  const value = (text) => {
    const found = /^\s*([-+]?)(0x[\da-f]+|[\d.,]+)\s*(?:([kmgt])(?:i?b)?\b)?/i.exec(text);
    if (!found) return -Infinity;
    const number = Number(found[2].replaceAll(',', ''));
    return (found[1] === '-' ? -number : number) * 1024 ** ' kmgt'.indexOf((found[3] || ' ').toLowerCase());
  };
  const sort = (head, column) => {
    const part = parts.all.find(({ place }) => place === head.closest('table'));
    const direction = head.getAttribute('aria-sort') === 'ascending' ? -1 : 1;
    const table = head.closest('table'), isNumber = head.classList.contains('number');
    all('th', table).forEach((other) => other.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', direction > 0 ? 'ascending' : 'descending');
    const ordered = (rows) => {
      const keyed = rows.map((row) => ({ ...row, value: isNumber ? value(row.text) : 0 }));
      return keyed.sort((a, b) => direction * ((a.value > b.value) - (a.value < b.value) || collator.compare(a.text, b.text)));
    };
    text = null;
    if (part) part.sort(column, ordered);
    else {
      const rows = [...table.tBodies[0].rows].map((row) => ({ row, text: row.cells[column].textContent }));
      table.tBodies[0].append(...ordered(rows).map(({ row }) => row));
    }
    if (length) find();
  };
  for (const table of all('.scroll > table:is(.data, :has(tbody))', main)) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.append(...head.childNodes);
      button.onclick = () => sort(head, column);
      head.append(button);
    });
  }
})();
