'use strict';
// Parts of a report that are data until they are opened. Then only what is near the window is made into elements, in groups;
// the others have the height that theirs will have. The search reads the data.
const parts = (() => {
  const SIZES = { rows: 200, lines: 400, stacks: 50 }, PRINTED = { rows: 5000, lines: 10000, stacks: 1000 };
  const NEAR = 1200;
  const ENDING = 'h2,dt,dd,th,td,p,pre,li,summary';
  const ends = new Set(ENDING.split(','));

  // A description of an element: its name, its class, and what is in it: texts and descriptions. Characters that cannot be seen
  // are escaped between two control characters, of which there are no others.
  const texts = (text) => (text.includes('\x01') ? text.split(/[\x01\x02]/).map((part, index) => (index % 2 ? ['span', 'escape', part] : part)) : [text]);
  const element = ([tag, name, ...children]) => {
    const made = document.createElement(tag);
    if (name) made.className = name;
    made.append(...children.filter((child) => child !== '').map((child) => (typeof child === 'string' ? child : element(child))));
    return made;
  };
  const textOf = (node) => {
    if (typeof node === 'string') return node;
    if (node[1] === 'gist') return '';
    const text = node.slice(2).map(textOf).join('');
    return ends.has(node[0]) ? text + '\n' : text;
  };

  // A line of a stack: a call, what led into the kernel, or why the stack ends.
  const lineOf = (line) => {
    if (line.end) return ['     ', ['span', 'end', ...texts(line.end)], '\n'];
    if (line.trap) {
      const [what, ...more] = line.trap;
      return [['span', 'trap', ['b', '', ...texts(what)], '\n', ...more.flatMap((text) => [...texts(text), '\n'])]];
    }
    const [frame, pc, name, offset, isInlined, module, source, repeats] = line;
    const call = [frame, ['span', 'pc', pc + ' '], ['b', '', ...texts(name)]];
    const found = isInlined ? [['span', 'inlined', ...call]] : call;
    if (offset) found.push('+', ...texts(offset));
    if (isInlined) found.push(' ', ['i', '', 'inlined']);
    if (module !== null) found.push(' ', ['span', 'module', ...texts(module)]);
    if (source !== null) found.push('  ', ...texts(source));
    found.push('\n');
    if (repeats) found.push('     ', ['span', 'end', `repeated ${counted(repeats, 'more time')}`], '\n');
    return found;
  };
  const counted = (count, what) => `${count} ${what}${count === 1 ? '' : 's'}`;
  const grouped = (count) => count.toLocaleString('en');

  // The text nodes in an element, and where each begins in the text of all of them.
  const collect = (element, into) => {
    const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const node = walker.currentNode;
      if (node.parentNode.className === 'gist') continue;
      into.nodes.push(node);
      into.starts.push(into.size);
      into.size += node.length;
    }
  };
  // Which of ascending numbers is the last that is not above this one.
  const lastUpTo = (starts, value) => {
    let low = 0, high = starts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (starts[middle] <= value) low = middle; else high = middle;
    }
    return low;
  };
  const rangeIn = ({ nodes, starts }, from, to) => {
    const first = lastUpTo(starts, from), last = lastUpTo(starts, to - 1), range = new Range();
    if (!nodes.length || to - starts[last] > nodes[last].length) return null;
    range.setStart(nodes[first], from - starts[first]);
    range.setEnd(nodes[last], to - starts[last]);
    return range;
  };

  // What is to be done when an element is opened, or comes near the window.
  const waiting = new WeakMap();
  const open = (details) => {
    const build = waiting.get(details);
    waiting.delete(details);
    build?.();
  };
  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) open(target);
  }, { rootMargin: `${NEAR}px 0px` });

  class Part {
    constructor(details) {
      const script = details.querySelector(':scope > script');
      this.details = details;
      this.script = script;
      this.kind = script.dataset.kind;
      this.count = Number(script.dataset.count);
      this.size = SIZES[this.kind];
      this.place = details.querySelector('.data');
      this.groups = [];
      this.starts = [];
      this.height = 0;
      this.isUnfolded = false;
      this.onBuilt = () => {};
      details.querySelector('.unbuilt').remove();
      waiting.set(details, () => this.lay());
    }

    get data() {
      if (!this.read) {
        this.read = JSON.parse(this.script.textContent);
        this.script.textContent = '';
      }
      return this.read;
    }

    get items() { return this.kind === 'stacks' ? this.data.stacks : this.data; }

    describeThreads(threads) {
      const what = ['span', 'what', ...(threads.length ? texts(threads[0]) : ['Stack'])];
      if (threads.length > 1) what.push(' ', ['small', '', `and ${counted(threads.length - 1, 'more thread')}`]);
      return what;
    }

    // The description of an item: of a stack, what can be seen before it is opened, and the rest.
    describe(item) {
      if (this.kind === 'lines') return ['', '', ...texts(item), '\n'];
      if (this.kind === 'rows') {
        this.classes ??= [...this.place.tHead.rows[0].cells].map((cell) => cell.className);
        return ['tr', '', ...item.map((cell, column) => ['td', this.classes[column] || '', ...texts(cell)])];
      }
      const [threads, lines, skipped, told] = item, all = this.data.lines;
      const names = lines.filter((line) => Array.isArray(all[line]) && !all[line][4]).slice(skipped, skipped + told);
      const gist = names.map((line) => textOf(['', '', ...texts(all[line][2])])).join(' \u2190 ');
      return ['details', 'stack', ['summary', '', this.describeThreads(threads), ...(gist ? [['span', 'gist', gist]] : [])]];
    }

    describeRest([threads, lines]) {
      const rest = [], more = threads.slice(1);
      if (more.length > 60) {
        const all = ['pre', '', ...more.flatMap((thread) => [...texts(thread), '\n'])];
        rest.push(['details', 'long', ['summary', '', ['span', 'what', `${grouped(more.length)} more threads`]], all]);
      } else if (more.length) rest.push(['ul', 'threads', ...more.map((thread) => ['li', '', ...texts(thread)])]);
      if (lines.length) rest.push(['pre', '', ...lines.flatMap((line) => lineOf(this.data.lines[line]))]);
      return rest;
    }

    make(item) {
      const made = element(this.describe(item));
      if (this.kind !== 'stacks') return made;
      const [gist] = made.getElementsByClassName('gist');
      gist?.setAttribute('aria-hidden', 'true');
      waiting.set(made, () => {
        made.append(...this.describeRest(item).map(element));
        made.querySelector('.threads')?.setAttribute('tabindex', '0');
        made.querySelector('.threads')?.setAttribute('aria-label', 'More threads with this stack');
        this.onBuilt(this.items.indexOf(item), 1);
      });
      return made;
    }

    // Makes the groups, the first one with what is in it, which tells the height of the others.
    lay() {
      if (this.groups.length) return;
      const tag = { rows: 'tbody', lines: 'span', stacks: 'div' }[this.kind];
      for (let first = 0; first < this.items.length; first += this.size) {
        const group = { element: element([tag, 'group unmade']), first, items: Math.min(this.size, this.items.length - first), isBuilt: false };
        waiting.set(group.element, () => this.build(group));
        this.groups.push(group);
      }
      if (!this.groups.length) return;
      this.place.append(this.groups[0].element);
      open(this.groups[0].element);
      this.measure();
      this.place.append(...this.groups.slice(1).map((group) => group.element));
      this.groups.slice(1).forEach((group) => near.observe(group.element));
    }

    measure() {
      const [{ element, items }] = this.groups;
      this.height = element.getBoundingClientRect().height / items || 24;
      for (const group of this.groups.filter((group) => !group.isBuilt)) {
        const height = `${group.items * this.height}px`;
        if (this.kind !== 'rows') { group.element.style.height = height; continue; }
        const cell = document.createElement('td');
        cell.style.height = height;
        cell.style.padding = 0;
        cell.colSpan = this.place.tHead.rows[0].cells.length;
        const row = document.createElement('tr');
        row.append(cell);
        group.element.replaceChildren(row);
      }
    }

    build(group) {
      group.isBuilt = true;
      group.element.classList.remove('unmade');
      near.unobserve(group.element);
      waiting.delete(group.element);
      const items = this.items.slice(group.first, group.first + group.items);
      const made = this.kind === 'lines' ? items.flatMap((item) => this.describe(item).slice(2)) : items.map((item) => this.make(item));
      group.element.replaceChildren(...made.filter((child) => child !== '').map((child) => (Array.isArray(child) ? element(child) : child)));
      group.element.style.height = '';
      if (this.isUnfolded) for (const details of group.element.children) { open(details); details.open = true; }
      this.onBuilt(group.first, group.items);
    }

    // The element of an item that has been made.
    madeOf(item) {
      const group = this.groupOf(item);
      return group.element.children[item - group.first];
    }

    // Makes at once what is near the window, and says whether there was any.
    makeNear() {
      const isNear = ({ top, bottom }) => bottom > -NEAR && top < innerHeight + NEAR;
      const found = this.details.open ? this.groups.filter((group) => !group.isBuilt && isNear(group.element.getBoundingClientRect())) : [];
      found.forEach((group) => this.build(group));
      return found.length > 0;
    }

    groupOf(item) { return this.groups[Math.floor(item / this.size)]; }

    fold(isOpen) {
      this.isUnfolded = isOpen && this.kind === 'stacks';
      if (isOpen) open(this.details);
    }

    // Has everything that fits on paper in the document, and says how much does not.
    print() {
      this.lay();
      for (const group of this.groups) if (!group.isBuilt && group.first < PRINTED[this.kind]) this.build(group);
      const rest = this.groups.reduce((sum, group) => sum + (group.isBuilt ? 0 : group.items), 0);
      if (rest) this.details.append(element(['p', 'note unprinted', `${grouped(rest)} more are not printed here; a report as text has all.`]));
    }

    sort(column, compare) {
      const items = this.items.map((item) => ({ item, text: textOf(['', '', ...texts(item[column])]) }));
      this.read = compare(items).map(({ item }) => item);
      this.groups.forEach(({ element }) => { near.unobserve(element); element.remove(); });
      this.groups = [];
      this.lay();
    }

    // For the search: the text of each item, as it is in the document when it has been made.
    texts(lower) {
      if (this.kind !== 'stacks') return this.items.map((item) => lower(textOf(this.describe(item))));
      const lines = this.data.lines.map((line) => lower(textOf(['', '', ...lineOf(line)])));
      return this.items.map(([threads, ids]) => {
        let text = textOf(this.describeThreads(threads)) + '\n';
        for (const node of this.describeRest([threads, []])) text += textOf(node);
        text = lower(text);
        for (const id of ids) text += lines[id];
        return ids.length ? text + '\n' : text;
      });
    }

    // Where a hit is in the document: nowhere if its item has not been made.
    range(hit, length) {
      const item = lastUpTo(this.starts, hit), group = this.groupOf(item);
      if (!group?.isBuilt) return null;
      const root = this.kind === 'stacks' ? group.element.children[item - group.first] : group.element;
      const start = this.starts[this.kind === 'stacks' ? item : group.first];
      if (this.known?.root !== root || this.known.isWaiting !== waiting.has(root)) {
        this.known = { root, isWaiting: waiting.has(root), nodes: [], starts: [], size: 0 };
        if (this.kind === 'lines') collect(root, this.known);
        else for (const end of root.querySelectorAll(ENDING)) { collect(end, this.known); this.known.size += 1; }
      }
      return rangeIn(this.known, hit - start, hit + length - start);
    }

    // Makes the item of a hit, and says where it is.
    show(hit, length) {
      this.details.open = true;
      open(this.details);
      const item = lastUpTo(this.starts, hit), group = this.groupOf(item);
      open(group.element);
      if (this.kind === 'stacks') open(this.madeOf(item));
      return this.range(hit, length);
    }
  }

  const all = [...document.querySelectorAll('details.long')].filter((details) => details.querySelector(':scope > script')).map((details) => new Part(details));
  document.addEventListener('toggle', ({ target }) => { if (target.open) open(target); }, true);
  return { all, open, collect, rangeIn, lastUpTo, ENDING };
})();
