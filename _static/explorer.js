// The explorers: sliders over published data, drawn as SVG in the page. No kernel, no network, no library.
// What is drawn is described in fpbook/figures/panels.py and comes with the data.
{
  const SVG = "http://www.w3.org/2000/svg";
  const make = (name, attributes = {}, ...children) => {
    const one = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
    one.append(...children);
    return one;
  };
  const draw = (name, attributes = {}, text = "") => {
    const one = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
    if (text) one.textContent = text;
    return one;
  };
  const at = (found, path) => path.split(".").reduce((here, part) => here[part], found);

  // Sliders with a name and a spoken value, in a row that stays in view; `changed` gets their positions.
  function controls(sliders, changed) {
    const box = make("div", { class: "fp-controls", role: "group", "aria-label": "Settings of the explorer" });
    const places = sliders.map((slider) => slider.start);
    sliders.forEach((slider, i) => {
      const input = make("input", { type: "range", min: 0, max: slider.keys.length - 1, step: 1, value: slider.start, "aria-label": slider.label });
      const output = make("output");
      const tell = () => {
        output.textContent = slider.shown[places[i]];
        input.setAttribute("aria-valuetext", slider.spoken[places[i]]);
      };
      input.addEventListener("input", () => { places[i] = Number(input.value); tell(); changed(places); });
      tell();
      box.append(make("label", {}, `${slider.label}: `, output, input));
    });
    return box;
  }

  const ticks = (low, high, count) => {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((one) => one * power >= rough * 0.999);
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9; i++) found.push(Number((i * step).toFixed(6)));
    return found;
  };
  const EDGE = { left: 34, right: 8, top: 6, bottom: 34 };
  const HEIGHT = 176;

  // One panel: drawn anew for each setting; values under the pointer, or by the arrow keys, in its legend.
  class Panel {
    constructor(spec) {
      this.spec = spec;
      this.index = null;
      this.title = make("h4");
      this.svg = draw("svg", { role: "img", tabindex: 0, height: HEIGHT });
      this.legend = make("ul", { class: "fp-legend" });
      this.element = make("div", { class: "fp-panel", "data-name": spec.name }, this.title, this.svg, this.legend);
      this.svg.addEventListener("pointermove", (event) => this.point(this.nearest(event)));
      this.svg.addEventListener("pointerdown", (event) => this.point(this.nearest(event)));
      this.svg.addEventListener("pointerleave", () => this.point(null));
      this.svg.addEventListener("blur", () => this.point(null));
      this.svg.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        this.point(Math.min(Math.max((this.index ?? (step > 0 ? -1 : this.count())) + step, 0), this.count() - 1));
      });
    }

    count() { return this.spec.x.length - (this.bars() ? 1 : 0); }
    bars() { return this.spec.curves.some((curve) => curve.kind === "bars"); }
    where(i) { return this.bars() ? (this.spec.x[i] + this.spec.x[i + 1]) / 2 : this.spec.x[i]; }
    nearest(event) {
      const x = event.clientX - this.svg.getBoundingClientRect().left;
      let best = 0;
      for (let i = 0; i < this.count(); i++) if (Math.abs(this.across(this.where(i)) - x) < Math.abs(this.across(this.where(best)) - x)) best = i;
      return best;
    }
    point(index) { this.index = index; if (this.found) this.draw(); }

    show(found, reach) { this.found = found; this.reach = reach; this.draw(); }

    draw() {
      const { spec, found, reach } = this;
      const width = this.svg.clientWidth || 260;
      const [low, high] = spec.ylim;
      const beside = spec.curves.some((curve) => curve.kind === "stems") ? 1 : 0;  // a stem is no part of the axis
      const [first, last] = [spec.x[0] - beside, spec.x.at(-1) + beside];
      const room = width - EDGE.left - EDGE.right;
      const tall = HEIGHT - EDGE.top - EDGE.bottom;
      this.across = (x) => EDGE.left + room * (x - first) / (last - first);
      this.up = (y) => EDGE.top + tall * (high - Math.min(Math.max(y, low), high)) / (high - low);
      this.title.textContent = reach === 0 && spec.control ? spec.control : spec.title;
      const parts = [];
      for (const tick of ticks(low, high, 4)) {
        parts.push(draw("line", { class: "fp-axis", x1: EDGE.left - 4, x2: EDGE.left, y1: this.up(tick), y2: this.up(tick) }));
        parts.push(draw("text", { x: EDGE.left - 6, y: this.up(tick) + 4, "text-anchor": "end" }, String(tick)));
      }
      for (const tick of ticks(spec.x[0], last, room < 200 ? 4 : 6)) {
        parts.push(draw("line", { class: "fp-axis", x1: this.across(tick), x2: this.across(tick), y1: EDGE.top + tall, y2: EDGE.top + tall + 4 }));
        parts.push(draw("text", { x: this.across(tick), y: EDGE.top + tall + 15, "text-anchor": "middle" }, String(tick)));
      }
      parts.push(draw("text", { x: EDGE.left + room / 2, y: HEIGHT - 4, "text-anchor": "middle" }, spec.across));
      parts.push(draw("path", { class: "fp-axis", d: `M${EDGE.left},${EDGE.top}V${EDGE.top + tall}H${width - EDGE.right}` }));
      if (spec.level !== null) parts.push(draw("line", { class: "fp-axis", x1: EDGE.left, x2: width - EDGE.right, y1: this.up(spec.level), y2: this.up(spec.level) }));
      const upright = spec.upright === "reach" ? reach || null : spec.upright;
      if (upright !== null) parts.push(this.upright(upright, tall, spec.upright === "reach" ? "trained" : ""));
      for (const curve of spec.curves) parts.push(...this.curve(curve, found, reach));
      if (this.index !== null) parts.push(this.upright(this.where(this.index), tall, ""));
      this.svg.replaceChildren(...parts);
      this.tell(found, reach);
    }

    upright(x, tall, text) {
      const group = draw("g");
      group.append(draw("line", { class: "fp-guide", x1: this.across(x), x2: this.across(x), y1: EDGE.top, y2: EDGE.top + tall }));
      if (text) group.append(draw("text", { x: this.across(x) + 3, y: EDGE.top + tall - 5 }, text));
      return group;
    }

    ink(curve, reach) { return curve.color === "second" ? (reach === 0 ? "fp-control" : "fp-trained") : `fp-${curve.color}`; }

    curve(curve, found, reach) {
      const rows = curve.of.split(" ").map((path) => at(found, path).map((value) => value * curve.scale));
      const ink = this.ink(curve, reach);
      const points = (row) => row.map((y, i) => `${this.across(this.spec.x[i]).toFixed(1)},${this.up(y).toFixed(1)}`);
      if (curve.kind === "line") return [draw("path", { class: `fp-line fp-dash${curve.dashed} ${ink}`, d: `M${points(rows[0]).join("L")}` })];
      if (curve.kind === "band") return [draw("path", { class: `fp-band ${ink}`, d: `M${[...points(rows[0]), ...points(rows[1]).reverse()].join("L")}Z` })];
      if (curve.kind === "stems") {
        return rows[0].map((y, i) => draw("line", { class: `fp-stem ${ink}`, x1: this.across(this.spec.x[i]), x2: this.across(this.spec.x[i]), y1: this.up(0), y2: this.up(y) }));
      }
      return rows[0].map((y, i) => {
        const [left, right] = [this.across(this.spec.x[i]), this.across(this.spec.x[i + 1])];
        return draw("rect", { class: `fp-bar ${ink}`, x: left + 0.5, width: Math.max(right - left - 1, 1), y: this.up(y), height: this.up(0) - this.up(y) });
      });
    }

    // The legend with the values under the pointer; what the panel shows, in words.
    tell(found, reach) {
      const { spec, index } = this;
      const entries = spec.curves.filter((curve) => curve.label);
      const value = (curve) => {
        const y = at(found, curve.of)[index] * curve.scale;
        return `${Math.abs(y) < 10 && spec.unit !== "%" ? y.toFixed(2) : y.toFixed(0)}${spec.unit}`;
      };
      const spoken = [];
      const items = entries.map((curve) => {
        const mark = draw("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" });
        mark.append(draw("line", { class: `fp-line fp-dash${curve.dashed} ${this.ink(curve, reach)}`, x1: 0, x2: 26, y1: 5, y2: 5 }));
        const label = reach === 0 ? curve.label.replace("after", "trained on") : curve.label;
        const read = index === null ? "" : value(curve);
        if (read) spoken.push(`${label} ${read}`);
        return make("li", {}, mark, label, make("b", {}, read));
      });
      if (index !== null) this.title.append(make("span", {}, `at ${Number(this.where(index).toFixed(2))}`));
      this.legend.replaceChildren(...items);
      const place = index === null ? "" : ` At ${Number(this.where(index).toFixed(2))}: ${spoken.join(", ")}.`;
      this.svg.setAttribute("aria-label", `${spec.words}${place}`);
    }
  }

  function sizes(root, data) {
    const panels = data.panels.map((spec) => new Panel(spec));
    const list = make("dl");
    const said = make("div", { class: "fp-panel fp-facts", "aria-live": "polite" }, make("h4", {}, "in numbers"), list);
    const grid = make("div", { class: "fp-panels" }, ...panels.map((panel) => panel.element), said);
    const update = (places) => {
      const [d, k, margin, threshold, width, reach] = data.sliders.map((slider, i) => slider.keys[places[i]]);
      const group = data.groups[[d, k, margin, threshold].join("-")];
      const second = { ...group.trained[width][reach] };
      second.cosines = second.cosines.map((count) => 100 * count / Math.max(second.live, 1));
      if (!second.neuron.length) second.neuron = [0, 1].map(() => Array(32).fill(0));  // no neuron is live
      const found = { linear: group.linear, clean: group.clean[width], second };
      for (const panel of panels) panel.show(found, Number(reach));
      list.replaceChildren(...data.facts.flatMap(({ label, paths, unit }) => {
        const values = paths.map((path) => at(found, path)).map((value) => (unit === "/100" ? (value / 100).toFixed(2) : `${value.toFixed(0)}%`));
        const name = Number(reach) === 0 ? label.replace("after", "trained on, clean") : label;
        return [make("dt", {}, name), make("dd", {}, [...new Set(values)].join(" – "))];
      }));
    };
    root.append(controls(data.sliders, update), grid);
    root.classList.add("fp-drawn");
    update(data.sliders.map((slider) => slider.start));
    new ResizeObserver(() => panels.forEach((panel) => panel.found && panel.draw())).observe(grid);
    // Print is narrower than the screen: draw for its width.
    for (const event of ["beforeprint", "afterprint"]) addEventListener(event, () => panels.forEach((panel) => panel.draw()));
  }

  // A tile of the sprite, `size` pixels of the page wide.
  function tile(data, [x, y, side], size, words) {
    const zoom = size / side;
    return make("div", {
      class: "fp-tile", role: "img", "aria-label": words,
      style: `width:${size}px;height:${size}px;background-image:url(${data.sprite});background-size:${data.size[0] * zoom}px ${data.size[1] * zoom}px;background-position:${-x * zoom}px ${-y * zoom}px`,
    });
  }

  function portrait(data, name, frame, original) {
    const sees = `The ${name} network sees: ${frame.sees}.`;
    const figure = (place, size, words) => make("figure", {}, tile(data, place, size, words), make("figcaption", {}, words));
    const bars = make("div", { class: "fp-bars" });
    for (const [label, share, right] of frame.classes) {
      const mark = right ? "fp-true" : "";
      bars.append(make("span", { class: mark }, label), make("span", {}, make("i", { class: mark, style: `width:${Math.max(share, 0.5)}%` })), make("span", { class: mark }, `${share}%`));
    }
    const maps = make("div", { class: "fp-row" }, ...frame.maps.map(([index, place]) => figure(place, 48, `feature ${index}`)));
    return make("section", { class: `fp-portrait fp-${name === "purified" ? "trained" : name}` },
      make("h4", {}, sees),
      make("div", { class: "fp-row" }, figure(frame.image, 112, "attacked image"), figure(frame.delta, 64, "δ, scaled"), figure(original, 64, "original")),
      bars, maps);
  }

  function images(root, data) {
    const box = make("div", { class: "fp-portraits", "aria-live": "polite" });
    const update = ([i, j]) => box.replaceChildren(...data.networks.map((name) => portrait(data, name, data.frames[i][j][name], data.originals[i])));
    root.append(controls(data.sliders, update), box);
    root.classList.add("fp-drawn");
    update(data.sliders.map((slider) => slider.start));
  }

  // Controls that stay in view lie below the page's own header, wherever that is by now.
  function follow(root) {
    const header = document.querySelector(".bd-header-article");
    const place = () => root.style.setProperty("--fp-top", `${Math.max(0, Math.round(header?.getBoundingClientRect().bottom ?? 0))}px`);
    place();
    for (const event of ["scroll", "resize"]) addEventListener(event, place, { passive: true });
  }

  addEventListener("DOMContentLoaded", () => {
    for (const root of document.querySelectorAll(".fp-explorer")) {
      const data = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
      ({ sizes, images })[root.dataset.kind](root, data);
      follow(root);
    }
  });

  // The sliders of widgets have labels beside them, but no names: lend them, and what they show.
  const name = () => {
    for (const row of document.querySelectorAll(".widget-hslider")) {
      const handle = row.querySelector(".noUi-handle");
      const said = { "aria-label": row.querySelector(".widget-label")?.textContent, "aria-valuetext": row.querySelector(".widget-readout")?.textContent };
      for (const [key, value] of Object.entries(said)) {
        if (handle && value && handle.getAttribute(key) !== value) handle.setAttribute(key, value);
      }
    }
  };
  new MutationObserver(name).observe(document, { childList: true, subtree: true, characterData: true, attributeFilter: ["aria-valuetext"] });
}
