'use strict';
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
  const folds = all('details', main);
  const fold = (open) => folds.forEach((details) => { details.open = open; });
  get('open').onclick = () => fold(true);
  get('close').onclick = () => fold(false);
  let unfolded = [];
  addEventListener('beforeprint', () => {
    unfolded = folds.filter((details) => !details.open);
    fold(true);
  });
  addEventListener('afterprint', () => unfolded.forEach((details) => { details.open = false; }));

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
    if (frames) requestAnimationFrame(() => { if (goal === scroll) settle(scroll, frames - 1); });
  };
  const unfold = () => {
    const section = sections.find((section) => '#' + section.id === location.hash);
    if (!section) return;
    all('.long', section).forEach((details) => { details.open = true; });
    settle(() => section.scrollIntoView());
  };
  addEventListener('hashchange', unfold);
  links.forEach((link) => { link.onclick = () => setTimeout(unfold); });
  unfold();
  mark();

  // Search: the text of the report in one string, and where in it each of its nodes begins.
  const MOST = 100000, MARKED = 5000;
  const field = get('search'), count = get('count');
  const hasMarks = 'highlights' in CSS;
  let text = null, nodes = [], starts = [], hits = [], at = -1, length = 0;
  const lower = (data) => {
    const changed = data.toLowerCase();
    return changed.length === data.length ? changed : data;
  };
  const read = () => {
    const parts = [];
    let size = 0;
    nodes = [];
    starts = [];
    for (const part of main.querySelectorAll('h2,dt,dd,th,td,p,pre,li,summary')) {
      const walker = document.createTreeWalker(part, NodeFilter.SHOW_TEXT);
      while (walker.nextNode()) {
        const node = walker.currentNode;
        if (node.parentNode.className === 'gist') continue;
        nodes.push(node);
        starts.push(size);
        parts.push(lower(node.data));
        size += node.length;
      }
      parts.push('\n');
      size += 1;
    }
    text = parts.join('');
  };
  const nodeAt = (position) => {
    let low = 0, high = starts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (starts[middle] <= position) low = middle; else high = middle;
    }
    return low;
  };
  const range = (hit) => {
    const first = nodeAt(hit), last = nodeAt(hit + length - 1), range = new Range();
    range.setStart(nodes[first], hit - starts[first]);
    range.setEnd(nodes[last], hit + length - starts[last]);
    return range;
  };
  const badges = () => {
    const counts = new Map();
    let known = -1, places = [];
    for (const hit of hits) {
      const index = nodeAt(hit);
      if (index !== known) {
        known = index;
        places = [];
        let element = nodes[index].parentElement;
        while ((element = element.closest('details,section'))) {
          places.push(element);
          element = element.parentElement;
        }
      }
      for (const place of places) counts.set(place, (counts.get(place) || 0) + 1);
    }
    const show = (element, found) => {
      if (found) element.dataset.hits = found; else delete element.dataset.hits;
    };
    sections.forEach((section, index) => show(links[index], counts.get(section)));
    folds.forEach((details) => show(details.querySelector('.what'), counts.get(details)));
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
      CSS.highlights.delete('now');
      CSS.highlights.set('hit', new Highlight(...hits.slice(0, MARKED).map(range)));
    }
    badges();
    tell();
  };
  const go = (step) => {
    if (timer) { clearTimeout(timer); timer = 0; find(); }
    if (!hits.length) return;
    at = at < 0 ? (step > 0 ? 0 : hits.length - 1) : (at + step + hits.length) % hits.length;
    const found = range(hits[at]), parent = found.startContainer.parentElement;
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
    const direction = head.getAttribute('aria-sort') === 'ascending' ? -1 : 1;
    const table = head.closest('table'), isNumber = head.classList.contains('number');
    all('th', table).forEach((other) => other.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', direction > 0 ? 'ascending' : 'descending');
    const rows = [...table.tBodies[0].rows].map((row) => {
      const text = row.cells[column].textContent;
      return { row, text, value: isNumber ? value(text) : 0 };
    });
    rows.sort((a, b) => direction * ((a.value > b.value) - (a.value < b.value) || collator.compare(a.text, b.text)));
    table.tBodies[0].append(...rows.map(({ row }) => row));
    text = null;
    if (length) find();
  };
  for (const table of all('.scroll > table:has(tbody)', main)) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.append(...head.childNodes);
      button.onclick = () => sort(head, column);
      head.append(button);
    });
  }
})();
