// The chart: figures over interactivity, as measured, interpolated between runs, and as modelled.

const METRICS = {
  cost: {
    title: "$ per million tokens", log: true, write: dollars,
    of: (machine, throughput) => prices.get(machine.sku) / (3600 * throughput / 1e6),
    modelled: (machine, value) => [value.cost, ...value.cost_90],
  },
  throughput: {
    title: "tokens/s per GPU", log: false, write: figure,
    of: (machine, throughput) => throughput,
    modelled: (machine, value) => [value.throughput, ...value.throughput_90],
  },
  power: {
    title: "tokens/s per megawatt, all-in", log: false, write: figure,
    of: (machine, throughput) => throughput * 1e6 / machine.watts,
    modelled: (machine, value) =>
      [value.throughput, ...value.throughput_90].map((each) => each * 1e6 / machine.watts),
  },
};

// Values of one machine in a metric, ready to be drawn.
function seriesOf(machine, metric) {
  const { of, modelled } = METRICS[metric];
  const grid = report.grid;
  const safeCost = (value) => metric === "cost" ? value.cost * scale(machine) : of(machine, value.throughput);
  return {
    machine,
    points: machine.points.map((point) => ({ ...point, y: of(machine, point.throughput) })),
    line: machine.line.map(([x, throughput]) => [x, of(machine, throughput)]),
    modelled: grid.map((x, place) => {
      const value = valueAt(machine, "modelled", place);
      return value && [x, ...modelled(machine, value)];
    }),
    safe: grid.map((x, place) => machine.safe[place] && [x, safeCost(machine.safe[place])]),
  };
}

const unbroken = (values) => {
  const runs = [[]];
  for (const value of values) {
    if (value) runs.at(-1).push(value);
    else if (runs.at(-1).length) runs.push([]);
  }
  return runs.filter((run) => run.length);
};

function axis(low, high, log) {
  const place = log ? Math.log : (value) => value;
  const [from, to] = [place(low), place(high)];
  return { low, high, log, at: (value) => (place(value) - from) / (to - from) };
}

function ticks({ low, high, log }, most) {
  if (log && high / low > 3) {
    const found = [];
    const steps = Math.log10(high / low) > most / 2 ? [1] : [1, 2, 5];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
      for (const step of steps) {
        const value = step * 10 ** power;
        if (value >= low && value <= high) found.push(value);
      }
    }
    return found;
  }
  const least = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= least);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) found.push(value);
  return found;
}

// Labels from top to bottom, none over another.
function apart(labels, least, lowest) {
  labels.sort((one, other) => one.y - other.y);
  labels.forEach((label, place) => {
    if (place) label.y = Math.max(label.y, labels[place - 1].y + least);
  });
  for (let place = labels.length - 1; place >= 0; place -= 1) {
    const below = place === labels.length - 1 ? lowest : labels[place + 1].y - least;
    labels[place].y = Math.min(labels[place].y, below);
  }
  return labels;
}

class Chart {
  constructor(holder, pick) {
    this.holder = holder;
    this.tip = el("div", { class: "tip", hidden: "" });
    this.hovered = null;
    holder.addEventListener("pointermove", (event) => this.hover(event));
    holder.addEventListener("pointerleave", () => this.leave());
    holder.addEventListener("click", (event) => {
      const place = this.placeUnder(event);
      if (place !== null) pick(place);
    });
    new ResizeObserver(() => this.state && this.draw(this.state)).observe(holder);
  }

  draw(state) {
    this.state = state;
    const width = Math.max(this.holder.clientWidth || 960, 300);
    const narrow = width < 620;
    const plot = { left: narrow ? 52 : 68, right: width - (narrow ? 58 : 84), top: 26 };
    plot.bottom = plot.top + Math.round(Math.min(Math.max(width * 0.42, 250), 400));
    const series = report.machines.map((machine) => seriesOf(machine, state.metric));
    const reached = [...report.grid, ...series.flatMap((each) => each.points.map((point) => point.speed))];
    const [slowest, fastest] = [Math.min(...reached), Math.max(...reached)];
    const room = 0.01 * (fastest - slowest); // for marks at both ends
    const x = axis(Math.max(slowest - room, 0.9 * slowest), fastest + room, state.xLog);
    const y = this.yAxis(series, state.yLog);
    const px = (value) => plot.left + x.at(value) * (plot.right - plot.left);
    const py = (value) => plot.bottom - y.at(value) * (plot.bottom - plot.top);
    Object.assign(this, { plot, px, py, series });
    const lanes = this.lanes(plot, px, plot.bottom + 46);
    const height = lanes.bottom + 6;
    const svg = draw("svg", {
      viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
      "aria-label": this.summary(state),
    });
    svg.append(
      this.definitions(plot),
      this.axes(x, y, px, py, plot, state, narrow),
      this.shading(px, plot),
      ...series.flatMap((each) => this.curves(each, px, py)),
      ...this.labels(series, px, py, plot),
      lanes.drawn,
      this.cross(px(report.grid[state.place]), plot, lanes.bottom, ""),
    );
    this.hoverLine = this.cross(0, plot, lanes.bottom, "hover");
    this.hoverLine.setAttribute("visibility", "hidden");
    svg.append(this.hoverLine);
    this.svg = svg;
    this.holder.replaceChildren(svg, this.tip);
  }

  summary({ metric, place }) {
    const { title, write } = METRICS[metric];
    const said = report.machines.map((machine) => {
      const value = valueAt(machine, "modelled", place);
      if (!value) return `${machine.sku} beyond reach`;
      return `${machine.sku} ${write(METRICS[metric].modelled(machine, value)[0])}`;
    });
    return `${title} over interactivity from ${plain(report.grid[0])} to ` +
      `${plain(report.grid.at(-1))} tok/s/user. At ${plain(report.grid[place])}, as modelled: ` +
      `${said.join(", ")}. The tables hold all figures.`;
  }

  yAxis(series, log) {
    const values = series.flatMap((each) => [
      ...each.points.map((point) => point.y),
      ...each.line.map((point) => point[1]),
      ...each.modelled.filter(Boolean).map((point) => point[1]),
    ]);
    if (!values.length) return axis(1, 10, log);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    return log ? axis(low / 1.25, high * 1.25, true) : axis(0, high * 1.06, false);
  }

  definitions(plot) {
    const hatches = report.machines.map((machine, index) => draw("pattern", {
      id: `hatch${index}`, width: 7, height: 7, patternUnits: "userSpaceOnUse",
      patternTransform: `rotate(${index % 2 ? -45 : 45})`,
    }, draw("rect", { width: 2, height: 7, fill: colour(machine) })));
    return draw("defs", {}, ...hatches, draw("clipPath", { id: "plot" }, draw("rect", {
      x: plot.left, y: plot.top, width: plot.right - plot.left, height: plot.bottom - plot.top,
    })));
  }

  axes(x, y, px, py, plot, state, narrow) {
    const parts = [draw("text", { x: plot.left, y: 14 }, METRICS[state.metric].title)];
    for (const value of ticks(y, 7)) {
      parts.push(
        draw("line", { class: "grid", x1: plot.left, x2: plot.right, y1: py(value), y2: py(value) }),
        draw("text", { class: "tick", x: plot.left - 8, y: py(value) + 4, "text-anchor": "end" },
          plain(value)));
    }
    for (const value of ticks(x, narrow ? 5 : 10)) {
      parts.push(
        draw("line", { class: "axis", x1: px(value), x2: px(value), y1: plot.bottom, y2: plot.bottom + 5 }),
        draw("text", { class: "tick", x: px(value), y: plot.bottom + 18, "text-anchor": "middle" },
          plain(value)));
    }
    parts.push(
      draw("line", { class: "axis", x1: plot.left, x2: plot.right, y1: plot.bottom, y2: plot.bottom }),
      draw("text", { x: (plot.left + plot.right) / 2, y: plot.bottom + 36, "text-anchor": "middle" },
        "interactivity, tok/s/user"));
    return draw("g", {}, ...parts);
  }

  shading(px, plot) {
    const drawn = report.machines.flatMap((machine) => machine.gaps.map((gap) => draw("rect", {
      x: px(gap.from), width: px(gap.to) - px(gap.from), y: plot.top,
      height: plot.bottom - plot.top, fill: colour(machine), opacity: 0.045,
    })));
    return draw("g", { "clip-path": "url(#plot)" }, ...drawn);
  }

  curves({ machine, points, line, modelled, safe }, px, py) {
    const path = (run, pick) => "M" + run.map((point) => `${px(point[0]).toFixed(1)} ${py(pick(point)).toFixed(1)}`).join("L");
    const stroke = colour(machine);
    const drawn = [];
    for (const run of unbroken(modelled)) {
      const back = [...run].reverse();
      drawn.push(
        draw("path", { class: "band", fill: stroke, d: `${path(run, (p) => p[2])}L${path(back, (p) => p[3]).slice(1)}Z` }),
        draw("path", { class: "modelled", stroke, d: path(run, (p) => p[1]) }));
    }
    for (const run of unbroken(safe)) drawn.push(draw("path", { class: "safe", stroke, d: path(run, (p) => p[1]) }));
    if (line.length) drawn.push(draw("path", { class: "interpolated", stroke, d: path(line, (p) => p[1]) }));
    modelled.forEach((point, place) => {
      if (point && place && modelled[place - 1] && this.changes(machine, place)) {
        drawn.push(draw("line", {
          stroke, x1: px(point[0]), x2: px(point[0]), y1: py(point[1]) - 4, y2: py(point[1]) + 4,
        }));
      }
    });
    for (const point of points) {
      drawn.push(mark(machine, px(point.speed), py(point.y), 4.2, { fill: stroke, stroke: "var(--ground)" }));
    }
    return [draw("g", { "clip-path": "url(#plot)" }, ...drawn)];
  }

  // Whether the shape of the deployment is another than one step of the grid before.
  changes(machine, place) {
    const shape = (at) => {
      const value = machine.modelled[at];
      return machine.deployments[value.deployment].label.split(" batch ")[0];
    };
    return shape(place) !== shape(place - 1);
  }

  labels(series, px, py, plot) {
    const ends = series.map(({ machine, modelled }) => {
      const last = modelled.filter(Boolean).at(-1);
      return last && { machine, x: px(last[0]), y: Math.min(Math.max(py(last[1]), plot.top), plot.bottom) };
    }).filter(Boolean);
    return apart(ends, 16, plot.bottom).map(({ machine, y }) => draw("g", {},
      mark(machine, plot.right + 12, y, 4.2, { fill: colour(machine) }),
      draw("text", { x: plot.right + 21, y: y + 4, "font-weight": 600, fill: colour(machine), style: `fill:${colour(machine)}` }, machine.sku)));
  }

  // Under the chart: who wins where, and where no run was published.
  lanes(plot, px, top) {
    const drawn = [];
    let y = top;
    const title = (text) => {
      drawn.push(draw("text", { class: "tick", x: plot.left, y: y + 12 }, text));
      y += 17;
    };
    for (const kind of KINDS) {
      title(`Cheapest as ${kind}`);
      drawn.push(...this.winners(kind, px, y, plot));
      y += 22;
    }
    const sparse = report.machines.filter((machine) => machine.gaps.length);
    if (sparse.length) title("Gaps: no run published, throughput falls 2-fold or more");
    for (const machine of sparse) {
      for (const gap of machine.gaps) {
        drawn.push(draw("rect", {
          class: "gap", x: px(gap.from), width: px(gap.to) - px(gap.from), y, height: 9,
          fill: `url(#hatch${report.machines.indexOf(machine)})`, stroke: colour(machine), opacity: 0.9,
        }, draw("title", {}, `${machine.sku}: no run published from ${gap.from.toFixed(1)} to ${gap.to.toFixed(1)} tok/s/user`)));
      }
      drawn.push(draw("text", { class: "tick", x: plot.right + 8, y: y + 9 }, machine.sku));
      y += 15;
    }
    return { drawn: draw("g", {}, ...drawn), bottom: y };
  }

  winners(kind, px, y, plot) {
    const grid = report.grid;
    const half = (place) => place < 0 || place > grid.length - 2
      ? px(grid[Math.min(Math.max(place + (place < 0 ? 1 : 0), 0), grid.length - 1)])
      : (px(grid[place]) + px(grid[place + 1])) / 2;
    const drawn = [];
    let start = 0;
    for (let place = 1; place <= grid.length; place += 1) {
      const winner = winnerAt(kind, start);
      if (place < grid.length && winnerAt(kind, place) === winner) continue;
      const [from, to] = [start ? half(start - 1) : plot.left, place < grid.length ? half(place - 1) : plot.right];
      start = place;
      if (winner === null) continue;
      const machine = report.machines.find((each) => each.sku === winner);
      drawn.push(draw("rect", {
        class: "won", x: from, width: Math.max(to - from - 1, 1), y, height: 16, rx: 2,
        fill: machine ? colour(machine) : "none", stroke: machine ? "none" : "var(--edge)",
      }));
      const text = machine ? winner : "too close";
      if (to - from > text.length * 7 + 8) {
        drawn.push(draw("text", {
          x: (from + to) / 2, y: y + 12, "text-anchor": "middle",
          style: machine ? "fill:var(--ground)" : "fill:var(--quiet)",
        }, text));
      }
    }
    return drawn;
  }

  cross(x, plot, bottom, kind) {
    return draw("line", { class: `cross ${kind}`, x1: x, x2: x, y1: plot.top, y2: bottom });
  }

  placeUnder(event) {
    const box = this.holder.getBoundingClientRect();
    const x = event.clientX - box.left;
    if (!this.plot || x < this.plot.left - 20 || x > this.plot.right + 20) return null;
    const away = report.grid.map((target) => Math.abs(this.px(target) - x));
    return away.indexOf(Math.min(...away));
  }

  hover(event) {
    const place = this.placeUnder(event);
    if (place === null) return this.leave();
    const box = this.holder.getBoundingClientRect();
    const at = { x: event.clientX - box.left, y: event.clientY - box.top };
    this.hovered = place;
    const x = this.px(report.grid[place]);
    this.hoverLine.setAttribute("x1", x);
    this.hoverLine.setAttribute("x2", x);
    this.hoverLine.setAttribute("visibility", "visible");
    const near = this.pointUnder(at);
    this.tip.replaceChildren(...(near ? pointText(near) : placeText(place)));
    this.tip.hidden = false;
    const left = at.x + 18 + this.tip.offsetWidth > box.width ? at.x - this.tip.offsetWidth - 18 : at.x + 18;
    this.tip.style.left = `${Math.max(left, 0)}px`;
    this.tip.style.top = `${Math.max(at.y - this.tip.offsetHeight / 2, 0)}px`;
    return undefined;
  }

  pointUnder(at) {
    const all = this.series.flatMap(({ machine, points }) => points.map((point) => ({
      machine, point, away: Math.hypot(this.px(point.speed) - at.x, this.py(point.y) - at.y),
    })));
    const near = all.sort((one, other) => one.away - other.away)[0];
    return near && near.away < 9 ? near : null;
  }

  leave() {
    this.hovered = null;
    this.tip.hidden = true;
    if (this.hoverLine) this.hoverLine.setAttribute("visibility", "hidden");
  }
}

// A measured run, as it is pointed at.
function pointText({ machine, point }) {
  return [
    el("p", { class: "head" }, named(machine), ` measured at ${figure(point.speed)} tok/s/user`),
    el("p", {}, `${figure(point.throughput)} tok/s/GPU, $${dollars(METRICS.cost.of(machine, point.throughput))} per million tokens`),
    el("p", {}, `${point.label}, ${point.gpus} GPUs`),
    el("p", { class: "quiet" }, `${point.table}: ${point.engine}, ${point.date}`),
    ...(point.suspect ? [el("p", { class: "quiet" }, `suspect: ${point.suspect}`)] : []),
  ];
}

// What each machine runs at one target, as it is pointed at.
function placeText(place) {
  return [
    el("p", { class: "head" }, `${plain(report.grid[place])} tok/s/user`),
    ...report.machines.flatMap((machine) => {
      const value = valueAt(machine, "modelled", place);
      if (!value) return [el("p", {}, named(machine), " no deployment meets the target")];
      const deployment = machine.deployments[value.deployment];
      return [el("p", {}, named(machine), ` $${dollars(value.cost)}, ${figure(value.throughput)} tok/s/GPU`,
        el("br"), `${deployment.label}, ${deployment.gpus} GPUs`,
        el("br"), `TTFT ${figure(value.ttft_ms)} ms, ${value.origin}`)];
    }),
  ];
}
