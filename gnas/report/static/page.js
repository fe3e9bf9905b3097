/* The script of a report: charts, hints, tables, colours and loading again. No text of a run is ever
   made into markup: elements get text only, and drawings are clones of the page's own templates. */
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const tip = document.getElementById("tip");

  const element = (name, attributes = {}, text = null) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== null) made.textContent = text;
    return made;
  };
  const stored = (store, key, value) => { // a browser may keep nothing of files
    try {
      if (value === undefined) return store().getItem(key);
      store().setItem(key, value);
    } catch { /* nothing is kept */ }
    return null;
  };
  const local = () => window.localStorage;
  const session = () => window.sessionStorage;

  // Colours
  const chosen = stored(local, "gnas-theme");
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  document.getElementById("theme").addEventListener("click", () => {
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    root.dataset.theme = (root.dataset.theme || system) === "dark" ? "light" : "dark";
    stored(local, "gnas-theme", root.dataset.theme);
  });

  // Numbers
  const sizes = [[1e9, "G"], [1e6, "M"], [1e3, "k"]];
  const written = (value, form, digits = 4) => {
    if (form === "percent") return `${(100 * value).toFixed(2)} %`;
    if (form === "count") {
      const [size, unit] = sizes.find(([least]) => Math.abs(value) >= least) ?? [1, ""];
      if (unit) return `${Number((value / size).toPrecision(digits))} ${unit}`;
    }
    return Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(digits)));
  };
  const tick = (axis) => {
    if (axis.log) { // 1, 2 and 5 times a power of ten are enough
      const plain = tick({ ...axis, log: false });
      return (value) => ["1", "2", "5"].includes(value.toExponential(0)[0]) ? plain(value) : "";
    }
    if (axis.names.length) return (value) => axis.names[value] ?? "";
    if (axis.form === "percent") return (value) => `${Number((100 * value).toPrecision(4))} %`;
    return (value) => written(value, axis.form);
  };

  // Hints
  const place = (x, y) => {
    const gap = 14, { offsetWidth: width, offsetHeight: height } = tip;
    const left = x + gap + width < innerWidth - 8 ? x + gap : x - gap - width;
    const top = y + gap + height < innerHeight - 8 ? y + gap : y - gap - height;
    tip.style.left = `${Math.min(Math.max(8, left), Math.max(8, innerWidth - width - 8))}px`;
    tip.style.top = `${Math.min(Math.max(8, top), Math.max(8, innerHeight - height - 8))}px`;
  };
  const hint = (head, lines, cell, x, y) => {
    tip.replaceChildren();
    if (head) tip.append(element("p", { class: "head" }, head));
    for (const line of lines) tip.append(element("p", {}, line));
    const template = cell && document.getElementById(cell);
    if (template) tip.append(template.content.cloneNode(true));
    tip.hidden = false;
    place(x, y);
  };
  const unhint = () => { tip.hidden = true; };
  document.addEventListener("scroll", unhint, { passive: true });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") unhint(); });

  // Charts
  
  const points = (series) => Array.from(series.x, (x, k) => ({
    x, y: series.y[k], low: series.low?.[k] ?? null, high: series.high?.[k] ?? null,
    cell: series.cells?.[k], label: series.labels?.[k], series,
  }));
  const colourOf = (series) => `var(--c${series.colour})`;
  const marksOf = (spec, series, across) => {
    const all = points(series), colour = colourOf(series);
    const found = all.filter((point) => point.x !== null && point.y !== null);
    const line = { x: "x", y: "y", stroke: colour, strokeWidth: 1.9, strokeLinejoin: "round", strokeLinecap: "round",
      strokeDasharray: series.dash || undefined };
    const ends = found.filter((point) => point.low !== null && point.high !== null);
    switch (series.kind) {
      case "guide": return [Plot.line(found, { ...line, strokeWidth: 1.2, strokeDasharray: "4,4" })];
      case "step": return [Plot.line(found, { ...line, curve: "step-after" })];
      case "band": return [
        Plot.areaY(ends, { x: "x", y1: "low", y2: "high", fill: colour, fillOpacity: 0.12 }), Plot.line(found, line)];
      case "bars": return [Plot.rectY(found, { x1: "low", x2: "high", y1: 0, y2: "y", fill: colour, insetLeft: 0.5, insetRight: 0.5 })];
      case "line": case "intervals": {
        const rule = { stroke: colour, strokeWidth: across ? 2.2 : 1.2 };
        const marks = [across
          ? Plot.ruleY(ends, { y: "y", x1: "low", x2: "high", ...rule })
          : Plot.ruleX(ends, { x: "x", y1: "low", y2: "high", ...rule })];
        if (series.kind === "line") marks.push(Plot.line(found, line));
        if (series.kind === "intervals" || found.length <= 40) marks.push(Plot.dot(found, { x: "x", y: "y", r: series.kind === "line" ? 2.2 : 4.5, fill: colour }));
        return marks;
      }
      default: {
        const many = found.length > 400;
        const look = series.symbol === "times" ? { stroke: colour, strokeWidth: 1.4 }
          : { fill: colour, fillOpacity: many ? 0.45 : 0.85, stroke: "var(--card)", strokeWidth: many ? 0 : 0.6 };
        const r = many ? 2.2 : series.symbol === "star" ? 8 : 4.2;
        return [Plot.dot(found, { x: "x", y: "y", r, symbol: series.symbol, ...look })];
      }
    }
  };
  const extent = (values) => values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
  const scale = (axis, values, zero) => {
    const known = values.filter((value) => value !== null && (!axis.log || value > 0));
    let [low, high] = extent(known);
    if (!known.length) [low, high] = [0, 1];
    if (axis.names.length) return { type: "linear", domain: [-0.6, axis.names.length - 0.4], reverse: true };
    if (low === high) [low, high] = axis.log ? [low / 2, high * 2] : [low - (Math.abs(low) || 1) * 0.05, high + (Math.abs(high) || 1) * 0.05];
    if (axis.log) return { type: "log", domain: [low / 1.12, high * 1.12] };
    const margin = 0.05 * (high - low);
    return { type: "linear", domain: [zero ? 0 : low - margin, high + margin] };
  };
  const draw = (figure) => {
    const spec = data.charts[Number(figure.dataset.chart)];
    const host = figure.querySelector(".plot");
    const width = Math.floor(host.clientWidth);
    if (!width || !spec) return;
    const shown = spec.series.filter((series) => !figure.hidden_?.has(series.name));
    const names = spec.y.names;
    const across = names.length > 0;
    const longest = Math.max(0, ...names.map((name) => name.length));
    const room = across ? Math.min(Math.max(60, 6.1 * longest + 14), 0.48 * width) : 58;
    const fits = Math.floor((room - 14) / 6.1);
    const part = Math.max(1, Math.floor((fits - 1) / 2)); // of each end: names often differ in the last words
    const short = (name) => name.length > fits ? `${name.slice(0, part)}…${name.slice(-part)}` : name;
    const xs = shown.flatMap((s) => [...s.x, ...(across || s.kind === "bars" ? [...(s.low ?? []), ...(s.high ?? [])] : [])]);
    const ys = shown.flatMap((s) => [...s.y, ...(across || s.kind === "bars" ? [] : [...(s.low ?? []), ...(s.high ?? [])])]);
    const bars = shown.some((series) => series.kind === "bars");
    const xscale = scale(spec.x, xs, false), yscale = scale(spec.y, ys, bars);
    const height = across ? Math.max(90, 46 + 25 * names.length) : figure.classList.contains("wide") ? 320 : 272;
    const whole = !spec.x.log && !across && spec.x.form === "plain" && xs.every((value) => value === null || Number.isInteger(value));
    const span = xscale.domain[1] - xscale.domain[0];
    const ticksX = whole && span < 12 ? Array.from({ length: Math.floor(xscale.domain[1]) - Math.ceil(xscale.domain[0]) + 1 }, (_, k) => Math.ceil(xscale.domain[0]) + k) : Math.max(3, Math.floor(width / (spec.x.log ? 60 : 85)));
    const places = [...new Set(xs.filter((value) => value !== null))];
    const few = spec.x.log && places.length <= 8; // the values themselves say more than round ones
    const ticks = few ? places : ticksX;
    const tickX = few ? tick({ ...spec.x, log: false }) : tick(spec.x);
    const all = shown.filter((s) => s.kind !== "guide").flatMap(points).filter((p) => p.x !== null && p.y !== null);
    const grid = { stroke: "var(--line)", strokeOpacity: 1 };
    const labelX = spec.x.label, labelY = across || spec.y.label === spec.title ? null : spec.y.label;
    const plot = Plot.plot({
      width, height, marginLeft: room, marginBottom: 38, marginTop: across ? 8 : 24, marginRight: 14,
      style: { background: "none" },
      x: { ...xscale, label: null }, y: { ...yscale, label: null },
      marks: [
        Plot.gridX({ ...grid, ticks }),
        across ? Plot.ruleY(names.map((_, k) => k), grid) : Plot.gridY(grid),
        Plot.axisX({ ticks, tickFormat: tickX, label: labelX, labelAnchor: "right", labelArrow: "none", tickSize: 0, labelOffset: 34 }),
        across
          ? Plot.axisY({ ticks: names.map((_, k) => k), tickFormat: (k) => short(names[k] ?? ""), label: null, tickSize: 0 })
          : Plot.axisY({ tickFormat: tick(spec.y), label: labelY, labelAnchor: "top", labelArrow: "none", tickSize: 0, ticks: 6 }),
        ...shown.flatMap((series) => marksOf(spec, series, across)),
        Plot.dot(all, Plot.pointer({ x: "x", y: "y", r: 8, stroke: "var(--ink)", strokeWidth: 1.6, fill: "none", maxRadius: 28 })),
      ],
    });
    let at = [0, 0];
    plot.addEventListener("pointermove", (event) => { at = [event.clientX, event.clientY]; }, { capture: true });
    plot.addEventListener("input", () => {
      const point = plot.value;
      if (!point) return unhint();
      const lines = [];
      if (point.label && point.series.name) lines.push(point.series.name);
      for (const [axis, value] of [[spec.x, point.x], [spec.y, point.y]]) {
        if (axis.names.length) lines.unshift(axis.names[value] ?? "");
        else lines.push(`${axis.label || "value"}: ${written(value, axis.form, 5)}`);
      }
      if (point.low !== null && point.high !== null) {
        const axis = across || point.series.kind === "bars" ? spec.x : spec.y;
        lines.push(`from ${written(point.low, axis.form, 5)} to ${written(point.high, axis.form, 5)}`);
      }
      hint(point.label || point.series.name, lines, point.cell, ...at);
    });
    plot.addEventListener("pointerleave", unhint);
    host.replaceChildren(plot);
    host.style.minHeight = "0";
    figure.drawnWidth_ = width;
  };
  const legend = (figure) => {
    const spec = data.charts[Number(figure.dataset.chart)];
    const host = figure.querySelector(".legend");
    const named = spec ? spec.series.filter((series) => series.name) : [];
    if (named.length < 2) return;
    figure.hidden_ = new Set();
    for (const series of named) {
      const button = element("button", { type: "button", "aria-pressed": "true" });
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      svg.setAttribute("viewBox", "0 0 16 10");
      const dots = series.kind === "dots" || series.kind === "bars";
      const mark = document.createElementNS("http://www.w3.org/2000/svg", dots ? "circle" : "path");
      const look = dots ? { cx: 8, cy: 5, r: 4 } : { d: "M0 5H16", "stroke-width": 2.4, "stroke-dasharray": series.kind === "guide" ? "3,3" : series.dash || "none" };
      for (const [key, value] of Object.entries(look)) mark.setAttribute(key, value);
      mark.style[dots ? "fill" : "stroke"] = colourOf(series);
      svg.append(mark);
      button.append(svg, series.name);
      button.addEventListener("click", () => {
        const hidden = figure.hidden_.has(series.name);
        if (hidden) figure.hidden_.delete(series.name); else figure.hidden_.add(series.name);
        button.setAttribute("aria-pressed", String(hidden));
        draw(figure);
      });
      host.append(button);
    }
  };
  const figures = [...document.querySelectorAll("figure.chart")];
  const sized = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const figure = target.closest("figure.chart");
      if (Math.abs(target.clientWidth - (figure.drawnWidth_ ?? 0)) > 1) draw(figure);
    }
  });
  for (const figure of figures) {
    legend(figure);
    draw(figure);
    sized.observe(figure.querySelector(".plot"));
  }
  addEventListener("beforeprint", () => {
    for (const run of document.querySelectorAll("details")) run.open = true;
  });

  // Tables
  document.querySelectorAll(".table").forEach((table, number) => {
    const body = table.querySelector("tbody");
    const rows = [...body.rows];
    const headings = [...table.querySelectorAll("th")];
    const input = table.querySelector(".filter input");
    const count = table.querySelector(".count");
    const state = JSON.parse(stored(session, `gnas-table-${number}`) || "{}");
    const keep = () => stored(session, `gnas-table-${number}`, JSON.stringify(state));
    const sort = () => {
      const { column, down } = state;
      if (column === undefined || !headings[column]) return;
      for (const one of headings) one.removeAttribute("aria-sort");
      headings[column].setAttribute("aria-sort", down ? "descending" : "ascending");
      const numeric = headings[column].classList.contains("number");
      const value = (row) => {
        const cell = row.cells[column];
        return numeric ? (cell.dataset.value === undefined ? null : Number(cell.dataset.value)) : cell.textContent.trim();
      };
      const order = rows.map((row) => [value(row), row]).sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null); // what has no value comes last
        const less = numeric ? a - b : a.localeCompare(b, "en", { numeric: true });
        return down ? -less : less;
      });
      body.append(...order.map(([, row]) => row));
    };
    headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => {
      const again = state.column === column;
      state.down = again ? !state.down : heading.classList.contains("number");
      state.column = column;
      sort();
      keep();
    }));
    const filter = () => {
      const words = (state.text || "").toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      if (count) count.textContent = shown === rows.length ? `${rows.length} rows` : `${shown} of ${rows.length} rows`;
    };
    if (input) {
      input.value = state.text || "";
      input.addEventListener("input", () => { state.text = input.value; filter(); keep(); });
      if (state.text) filter();
    }
    sort();
    for (const button of table.querySelectorAll(".cell")) {
      const show = (event) => {
        const box = button.getBoundingClientRect();
        hint(null, [], button.dataset.cell, event.clientX ?? box.left, event.clientY ?? box.bottom);
      };
      button.addEventListener("pointerenter", show);
      button.addEventListener("focus", show);
      button.addEventListener("click", show);
      button.addEventListener("pointerleave", unhint);
      button.addEventListener("blur", unhint);
    }
  });

  // Copying
  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", async () => {
      const pre = button.parentElement.querySelector("pre");
      try {
        await navigator.clipboard.writeText(pre.textContent);
        button.textContent = "Copied";
      } catch { // no clipboard here: mark it for the reader
        getSelection().selectAllChildren(pre);
        button.textContent = "Marked";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1600);
    });
  }

  // Loading again while a run goes on
  const live = document.getElementById("live");
  if (live && data.live) {
    const at = stored(session, "gnas-scroll");
    if (at !== null) scrollTo(0, Number(at));
    let on = true;
    live.addEventListener("click", () => {
      on = !on;
      live.setAttribute("aria-pressed", String(on));
      live.textContent = on ? "live" : "stopped";
    });
    setInterval(() => {
      if (!on || document.hidden || !tip.hidden) return;
      stored(session, "gnas-scroll", String(scrollY));
      location.reload();
    }, 1000 * data.reload);
  }
})();
