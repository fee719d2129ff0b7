// @ts-check
// Brings the figures of a page to life. Each output of a notebook carries this script; it runs when it is put into the page,
// and again for each output that comes later, so a figure that lives already is left alone. Whatever goes wrong, the still picture stays.
(() => {
  'use strict';

  /** @typedef {{label: string, says: string, svg: string}} Frame */
  /** @typedef {{step: number, at: number, end: number, time: string, says: string, state: [string, string][]}} Moment */
  /** @typedef {{times: string, steps: string, legend: string, left: number, width: number, total: number, moments: Moment[]}} Recording */

  /**
   * @template {keyof HTMLElementTagNameMap} K
   * @param {K} tag
   * @param {Record<string, string>} attributes
   * @param {string} [text]
   */
  const make = (tag, attributes, text) => {
    const element = document.createElement(tag);
    for (const name in attributes) element.setAttribute(name, attributes[name]);
    if (text) element.textContent = text;
    return element;
  };

  /** @param {string} source @returns {SVGSVGElement} */
  const drawn = (source) => {
    const root = new DOMParser().parseFromString(source, 'image/svg+xml').documentElement;
    if (root.localName !== 'svg') throw new Error('not a picture');
    // Its name is the figure's; as a title it would follow the pointer of the mouse about.
    root.setAttribute('aria-label', root.querySelector('title')?.textContent ?? '');
    root.setAttribute('role', 'group');
    for (const gone of root.querySelectorAll('title,desc,style')) gone.remove();
    return /** @type {SVGSVGElement} */ (/** @type {unknown} */ (document.importNode(root, true)));
  };

  /**
   * What is wider than its place can be scrolled by keys, too.
   * @param {HTMLElement} view
   */
  const reach = (view) => {
    if (view.scrollWidth > view.clientWidth && !view.querySelector('[tabindex="0"]')) view.tabIndex = 0;
  };

  /**
   * The same whenever its size changes: this script can run before the page has its width, and a window can be made narrow.
   * @param {HTMLElement} view
   */
  const watch = (view) => new ResizeObserver(() => reach(view)).observe(view);

  const HINT = 'Point at a part, or walk from one to the next with Tab and the arrow keys: what is it?';

  /** @param {Element} element @param {string} name */
  const data = (element, name) => element.getAttribute('data-' + name) ?? '';

  /**
   * Words that answer: what is this, where does it lead, who else has the number?
   * @param {SVGSVGElement} svg @param {HTMLElement} say
   */
  const words = (svg, say) => {
    const all = [...svg.querySelectorAll('.w')];
    if (!all.length) return;
    /** @type {Element | null} */
    let held = null;
    let first = true;
    for (const word of all) {
      word.setAttribute('tabindex', first ? '0' : '-1');
      word.setAttribute('role', 'button');
      word.setAttribute('aria-description', data(word, 'say'));
      first = false;
    }
    /** @param {Element | null} word */
    const light = (word) => {
      for (const lit of svg.querySelectorAll('.lit,.same')) lit.classList.remove('lit', 'same');
      svg.classList.toggle('lit-on', !!word);
      if (!word) return void (say.textContent = HINT);
      const at = data(word, 'at'), to = data(word, 'to').split(' ');
      word.classList.add('lit');
      /** @type {string[]} */
      const twins = [];
      for (const other of svg.querySelectorAll('.w,.h')) {
        if (to.includes(data(other, 'at'))) other.classList.add('lit');
        if (other === word || !data(word, 'v') || data(other, 'v') !== data(word, 'v')) continue;
        other.classList.add('same');
        twins.push(data(other, 'name'));
      }
      for (const arrow of svg.querySelectorAll('.a')) {
        if (data(arrow, 'from') === at || data(arrow, 'to') === at) arrow.classList.add('lit');
      }
      say.textContent = data(word, 'say') + (twins.length ? ` ${data(word, 'twin') || 'The same number stands in'} ${twins.join(', ')}.` : '');
    };
    /** @param {EventTarget | null} target */
    const under = (target) => target instanceof Element ? target.closest('.w') : null;
    /** @param {Element} word */
    const hold = (word) => {
      held = held === word ? null : word;
      for (const each of all) each.setAttribute('aria-pressed', String(each === held));
      light(word);
    };
    svg.addEventListener('pointerover', (event) => { const word = under(event.target); if (word) light(word); });
    svg.addEventListener('pointerleave', () => light(held));
    svg.addEventListener('focusin', (event) => {
      const word = under(event.target);
      if (!word) return;
      for (const each of all) each.setAttribute('tabindex', each === word ? '0' : '-1');
      light(word);
    });
    svg.addEventListener('focusout', () => light(held));
    svg.addEventListener('click', (event) => { const word = under(event.target); if (word) hold(word); });
    svg.addEventListener('keydown', (event) => {
      const word = under(event.target);
      if (!word) return;
      const at = all.indexOf(word);
      const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
      if (event.key === 'Enter' || event.key === ' ') hold(word);
      else if (event.key === 'Escape') hold(held ?? word), light(held = null);
      else if (next === undefined) return;
      else /** @type {SVGElement | undefined} */ (all[next])?.focus();
      event.preventDefault();
    });
  };

  /**
   * Buttons, a slider and keys for positions 0 to count - 1.
   * @param {HTMLElement} figure @param {number} count @param {string} what @param {(at: number) => string} go
   */
  const stepper = (figure, count, what, go) => {
    const bar = make('div', { class: 'bar', role: 'group', 'aria-label': what });
    const back = make('button', { type: 'button', 'aria-label': 'previous' }, '◀');
    const on = make('button', { type: 'button', 'aria-label': 'next' }, '▶');
    const play = make('button', { type: 'button', class: 'play' }, 'Play');
    const slider = make('input', { type: 'range', min: '0', max: String(count - 1), 'aria-label': what });
    const label = make('span', { class: 'at', 'aria-live': 'polite' });
    let at = 0;
    /** @type {number | undefined} */
    let clock;
    const stop = () => { clearInterval(clock); clock = undefined; play.textContent = 'Play'; };
    /** @param {number} to */
    const step = (to) => {
      at = Math.max(0, Math.min(count - 1, to));
      slider.value = String(at);
      back.disabled = at === 0;
      on.disabled = at === count - 1;
      label.textContent = go(at);
      slider.setAttribute('aria-valuetext', label.textContent);
    };
    /** @param {number} by */
    const move = (by) => { stop(); step(at + by); };
    back.addEventListener('click', () => move(-1));
    on.addEventListener('click', () => move(1));
    slider.addEventListener('input', () => { stop(); step(Number(slider.value)); });
    play.addEventListener('click', () => {
      if (clock !== undefined) return stop();
      if (at === count - 1) step(0);
      play.textContent = 'Pause';
      clock = window.setInterval(() => {
        if (!figure.isConnected || at === count - 1) return stop();
        step(at + 1);
      }, 900);
    });
    figure.addEventListener('keydown', (event) => {
      if (event.target === slider || event.altKey || event.ctrlKey || event.metaKey) return;
      const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
      if (by === undefined || !bar.isConnected || bar.hidden) return;
      event.preventDefault();
      move(by);
    });
    bar.append(back, on, play, slider, label);
    return { bar, label, step, stop, at: () => at };
  };

  /**
   * @param {HTMLElement} figure @param {HTMLElement} view @param {HTMLElement} say
   * @param {SVGSVGElement} still @param {Frame[]} frames @param {number | null} first
   */
  const stepped = (figure, view, say, still, frames, first) => {
    /** @type {SVGSVGElement[]} */
    const ready = [];
    const says = make('p', { class: 'says' });
    const steps = stepper(figure, frames.length, 'Position', (at) => {
      if (!ready[at]) words(ready[at] = drawn(frames[at].svg), say);
      const scrolled = view.scrollLeft;
      view.replaceChildren(ready[at]);
      view.scrollLeft = scrolled;
      reach(view);
      says.textContent = frames[at].says;
      say.textContent = HINT;
      all.setAttribute('aria-pressed', 'false');
      return `${at + 1} of ${frames.length}: ${frames[at].label}`;
    });
    const all = make('button', { type: 'button', 'aria-pressed': 'true' }, 'All at once');
    const whole = () => {
      steps.stop();
      view.replaceChildren(still);
      says.textContent = '';
      say.textContent = HINT;
      steps.label.textContent = `all ${frames.length}`;
      all.setAttribute('aria-pressed', 'true');
    };
    all.addEventListener('click', () => all.getAttribute('aria-pressed') === 'true' ? steps.step(steps.at()) : whole());
    steps.bar.append(all);
    view.before(steps.bar);
    view.after(says);
    steps.step(first ?? frames.length - 1);
    // All at once where there is room for it.
    if (first === null && frames.length < 4 && view.scrollWidth <= view.clientWidth && Number(still.getAttribute('width')) <= view.clientWidth) whole();
  };

  /**
   * @param {HTMLElement} figure @param {HTMLElement} view @param {Recording} film
   */
  const player = (figure, view, film) => {
    const [times, steps, legend] = [film.times, film.steps, film.legend].map(drawn);
    const says = make('p', { class: 'say', role: 'status' });
    const state = make('dl', { class: 'state' });
    const above = make('div', { class: 'view' });
    const below = make('div', { class: 'view' });
    above.append(times);
    below.append(legend);
    view.replaceChildren(steps);
    view.before(above);
    view.after(below);
    const cursor = document.createElementNS(times.namespaceURI, 'rect');
    cursor.setAttribute('class', 'cursor');
    cursor.setAttribute('y', '62');
    cursor.setAttribute('height', String(Number(times.getAttribute('height')) - 80));
    times.append(cursor);
    const columns = [...steps.querySelectorAll('.e')];
    /** @param {number} time */
    const x = (time) => film.left + film.width * Math.min(1, time / film.total);
    const controls = stepper(figure, columns.length, 'Step', (at) => {
      const moment = film.moments[at];
      columns.forEach((column, i) => column.classList.toggle('now', i === at));
      cursor.setAttribute('x', String(x(moment.at) - 1));
      cursor.setAttribute('width', String(Math.max(2, x(moment.end) - x(moment.at))));
      const column = /** @type {SVGGraphicsElement} */ (columns[at]).getBBox();
      if (column.x < view.scrollLeft + film.left || column.x + column.width > view.scrollLeft + view.clientWidth - 30) {
        view.scrollLeft = column.x - view.clientWidth / 2;
      }
      says.textContent = moment.says;
      state.replaceChildren(...moment.state.flatMap(([what, how]) => [make('dt', {}, what), make('dd', {}, how)]));
      return `step ${moment.step + 1}, at ${moment.time}`;
    });
    steps.addEventListener('click', (event) => {
      const at = event.target instanceof Element ? columns.indexOf(/** @type {Element} */ (event.target.closest('.e'))) : -1;
      if (at >= 0) controls.stop(), controls.step(at);
    });
    times.addEventListener('click', (event) => {
      const time = (event.clientX - times.getBoundingClientRect().left - film.left) / film.width * film.total;
      const at = film.moments.findIndex((moment) => moment.end >= time);
      controls.stop();
      controls.step(at < 0 ? columns.length - 1 : at);
    });
    above.after(controls.bar);
    below.after(says, state);
    view.tabIndex = 0;
    view.setAttribute('role', 'group');
    view.setAttribute('aria-label', 'step by step; the arrow keys go from one to the next');
    controls.step(0);
    for (const each of [above, below]) watch(each);
  };

  /** @param {HTMLElement} figure */
  const live = (figure) => {
    const view = /** @type {HTMLElement} */ (figure.querySelector('.view'));
    const image = /** @type {HTMLImageElement} */ (view.querySelector('img'));
    const still = drawn(decodeURIComponent(image.src.slice(image.src.indexOf(',') + 1)));
    const extra = figure.querySelector('script[type="application/json"]');
    const more = extra ? JSON.parse(extra.textContent ?? '') : {};
    const say = make('p', { class: 'say', role: 'status' });
    words(still, say);
    view.replaceChildren(still);
    if (figure.querySelector('.w')) view.after(say), say.textContent = HINT;
    watch(view);
    if (more.player && more.player.moments.length) return player(figure, view, more.player);
    if (more.frames) stepped(figure, view, say, still, more.frames, more.first);
  };

  const scope = /** @type {Document} */ (document.currentScript?.getRootNode() ?? document);
  for (const figure of scope.querySelectorAll('figure.pinlab:not([data-live])')) {
    figure.setAttribute('data-live', '');
    try {
      live(/** @type {HTMLElement} */ (figure));
    } catch (error) {
      console.warn('pinlab: the picture stays still', error);
    }
  }
})();
