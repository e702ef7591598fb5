// The page: one state, and all that is drawn of it.

const state = { place: report.start, metric: "cost", yLog: true, xLog: false };
const PARTS = [
  ["compute", "compute"], ["launches", "launches and host"],
  ["communication", "exposed communication"], ["waiting", "waiting for the slowest rank"],
];
const th = (text, attributes = {}) => el("th", { scope: "col", ...attributes }, text);
const head = (text, attributes = {}) => el("th", { scope: "row", class: "text", ...attributes }, text);
const cell = (...content) => el("td", {}, ...content);

function missing(machine, kind, place) {
  const beyond = kind === "modelled" || machine.beyond[place];
  return beyond ? "beyond" : "-";
}

function costCell(machine, kind, place, winner) {
  const value = valueAt(machine, kind, place);
  if (!value) return cell(missing(machine, kind, place));
  const star = value.origin === "extrapolated" ? "*" : "";
  const written = el("span", { class: winner === machine.sku ? "best" : null }, star + dollars(value.cost));
  if (!value.cost_90) return cell(written);
  return cell(written, el("br"), el("span", { class: "interval" }, value.cost_90.map(dollars).join(" .. ")));
}

// Winner and by how much: the factor that the cheapest other costs more.
function verdictOf(kind, place) {
  const winner = winnerAt(kind, place);
  if (winner === null) return "-";
  if (winner === report.too_close) return winner;
  const ranked = rankedAt(kind, place);
  return ranked.length < 2 ? `${winner} alone` : `${winner}, ${times(ranked[1].value.cost / ranked[0].value.cost)}`;
}

function sentence(kind, place) {
  const winner = winnerAt(kind, place);
  const said = kind === "measured" ? "As measured" : "As modelled";
  if (winner === null) return `${said}: no winner, as fewer than two machines have a value.`;
  const [first, second] = rankedAt(kind, place);
  const tie = tieOf(first.machine, kind, place);
  if (winner === report.too_close) {
    return `${said}: too close to call; ${first.machine.sku} ties with ${tie.against} at $${price(tie.price)} per GPU-hour.`;
  }
  if (!second) return `${said}: ${winner} alone reaches it.`;
  const ratio = second.value.cost / first.value.cost;
  const apart = Math.exp(apartAt(first.machine, second.machine, place) ?? 0);
  const sure = kind === "modelled" ? ` (90 %: ${times(ratio / apart)} to ${times(ratio * apart)})` : "";
  return `${said}: ${winner} is ${times(ratio)} cheaper${sure}, and wins up to ` +
    `$${price(tie.price)} per GPU-hour, with ${tie.against} at $${price(prices.get(tie.against))}.`;
}

function showTarget() {
  const target = `${plain(report.grid[state.place])} tok/s/user`;
  byId("target").value = state.place;
  byId("target").setAttribute("aria-valuetext", target);
  byId("target-said").textContent = target;
  byId("verdict").replaceChildren(sentence("measured", state.place), el("br"), sentence("modelled", state.place));
}

// Rows are made once, so that the input that is typed into stays.
function makeMachines() {
  const body = report.machines.map((machine) => el("tr", {}, head(named(machine)), cell(el("input", {
    type: "number", min: "0.01", max: "1000", step: "0.01", value: machine.price.toFixed(2),
    id: `price-${machine.sku}`, "aria-label": `Price of ${machine.sku}, $ per GPU-hour`,
    on: { input: (event) => reprice(machine, event.target) },
  }))));
  const two = [th("tok/s/GPU"), th("$/M tokens"), th("wins below, $/GPU-hour")];
  table(byId("machines"), "Cost in $ per million tokens, input and output; * extrapolated, outside the calibration data", [
    [el("td", { colspan: 2 }), ...KINDS.map((kind) => el("th", { scope: "colgroup", colspan: 3 }, `as ${kind}`))],
    [th("Machine", { class: "text" }), th("$/GPU-hour"), ...two, ...two.map((each) => each.cloneNode(true))],
  ], body);
}

function showMachines() {
  const rows = byId("machines").tBodies[0].rows;
  report.machines.forEach((machine, index) => {
    const cells = KINDS.flatMap((kind) => {
      const value = valueAt(machine, kind, state.place);
      const tie = tieOf(machine, kind, state.place);
      return [
        cell(value ? figure(value.throughput) : missing(machine, kind, state.place)),
        costCell(machine, kind, state.place, winnerAt(kind, state.place)),
        cell(tie ? price(tie.price) : "-"),
      ];
    });
    [...rows[index].children].slice(2).forEach((old) => old.remove());
    rows[index].append(...cells);
  });
}

function reprice(machine, input) {
  const value = Number(input.value);
  const valid = input.value.trim() !== "" && Number.isFinite(value) && value > 0;
  input.setAttribute("aria-invalid", String(!valid));
  byId("price-problem").textContent = valid ? "" : `Price of ${machine.sku}: give a number above 0, in $ per GPU-hour.`;
  if (!valid) return;
  prices.set(machine.sku, value);
  show();
}

function showDeployments() {
  byId("deployments").replaceChildren(...report.machines.map((machine) => {
    const value = valueAt(machine, "modelled", state.place);
    const title = el("h3", {}, named(machine), ` ${machine.title}`);
    if (!value) {
      return el("article", { class: "card" }, title, el("p", {}, `No deployment: ${machine.reasons[state.place] ?? "none meets the target"}.`));
    }
    const deployment = machine.deployments[value.deployment];
    const figures = [
      ["Cost", `$${dollars(value.cost)} (90 %: ${value.cost_90.map(dollars).join(" .. ")})`],
      ["Throughput", `${figure(value.throughput)} tok/s/GPU (${value.throughput_90.map(figure).join(" .. ")})`],
      ["Interactivity", `${figure(value.speed)} tok/s/user (${value.speed_90.map(figure).join(" .. ")})`],
      ["Mean TTFT", `${figure(value.ttft_ms)} ms`],
    ];
    const notes = [];
    if (value.outside.length) notes.push(`Extrapolated, never measured in: ${value.outside.join(", ")}.`);
    if (value.chance !== null) notes.push(`Chance to meet the target: ${chance(value.chance)}.`);
    const safe = machine.safe[state.place];
    if (safe) notes.push(`Safe choice: ${safe.label}, $${dollars(safe.cost * scale(machine))}.`);
    return el("article", { class: "card" }, title,
      el("dl", {}, ...[...figures, ...deployment.rows].flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)])),
      ...stepBar(deployment.step_ms),
      ...notes.map((note) => el("p", { class: "quiet" }, note)));
  }));
}

function chance(value) {
  if (value >= 0.01 && value <= 0.99) return `${(100 * value).toFixed(0)} %`;
  return value > 0.5 ? "over 99 %" : "below 1 %";
}

function stepBar(step) {
  const total = PARTS.reduce((sum, [name]) => sum + step[name], 0);
  const bar = el("div", { class: "bar", "aria-hidden": "true" }, ...PARTS.map(([name], index) =>
    el("span", { class: `p${index}`, style: `flex:${step[name] / total}` })));
  const items = PARTS.map(([name, title], index) => el("li", {},
    el("i", { class: `p${index}` }), el("span", {}, title),
    el("b", {}, `${step[name].toFixed(2)} ms`), el("b", {}, percent(step[name] / total))));
  return [bar, el("ul", { class: "parts", "aria-label": `A decode step of ${total.toFixed(2)} ms` }, ...items)];
}

function showRows() {
  const places = report.asked.map((target) => report.grid.indexOf(target));
  if (!places.includes(state.place)) places.push(state.place);
  places.sort((one, other) => one - other);
  const body = places.map((place) => el("tr", place === state.place ? { class: "now", "aria-current": "true" } : {},
    head(plain(report.grid[place])),
    ...KINDS.flatMap((kind) => {
      const winner = winnerAt(kind, place);
      return [
        ...report.machines.map((machine) => costCell(machine, kind, place, winner)),
        el("td", { class: "winner" }, verdictOf(kind, place)),
      ];
    })));
  const columns = [...report.machines.map((machine) => th(machine.sku)), th("winner")];
  table(byId("rows"), "$ per million tokens at the prices above, with 90 % intervals as modelled", [
    [el("td"), ...KINDS.map((kind) => el("th", { scope: "colgroup", colspan: columns.length }, `as ${kind}`))],
    [th("tok/s/user", { class: "text" }), ...columns, ...columns.map((each) => each.cloneNode(true))],
  ], body);
}

function showOnce() {
  byId("served").textContent = [...new Set(report.machines.map((machine) => machine.served))].join("; ");
  byId("version").textContent = report.version;
  byId("command").textContent = report.command;
  byId("next").replaceChildren(...report.next.map((text) => el("li", {}, text)));
  byId("rows-note").textContent = `* extrapolated: outside the calibration data. ${report.too_close}: measured costs ` +
    `differ by less than ${100 * report.noise} %, or 1 lies in the 90 % interval of the ratio of modelled ones. ` +
    "beyond: no deployment, or no published row, meets the target.";
  const sources = (id, caption, lines) => table(byId(id), caption,
    [[th("What", { class: "text" }), th("Value", { class: "text" }), th("Kind", { class: "text" }), th("Source", { class: "text" }), th("Date")]],
    lines.map((line) => el("tr", {}, head(line.name), el("td", { class: "text words" }, line.text),
      el("td", { class: "text" }, line.kind), el("td", { class: "text words" }, line.source), cell(line.date))));
  sources("assumptions", "Prices, what is served, and the data behind the figures", report.assumptions);
  sources("facts", "Per GPU, links one way", report.facts);
  const kinds = Object.keys(report.accuracy[0]?.figures ?? {});
  table(byId("accuracy"), "Predictions of the measured rows nearest to the question: mean error, and share inside the 90 % interval", [
    [th("Machine", { class: "text" }), th("Rows"), th("Alike in", { class: "text" }), th("Fit", { class: "text" }), ...kinds.map((kind) => th(`${kind}, mean error`)), ...kinds.map((kind) => th(`${kind}, inside 90 %`))],
  ], report.accuracy.map((line) => el("tr", {}, head(line.sku), cell(String(line.rows)),
    el("td", { class: "text words" }, line.alike), el("td", { class: "text" }, line.fitted),
    ...["mape", "coverage_90"].flatMap((key) => kinds.map((kind) => {
      const value = line.figures[kind][key];
      return cell(value === null ? "-" : percent(value));
    })))));
  byId("key").replaceChildren(...keyOf());
}

// What the lines and marks mean, whichever machine they are of.
function keyOf() {
  const line = (name) => draw("svg", { width: 30, height: 10, "aria-hidden": "true" },
    draw("path", { class: name, stroke: "currentColor", d: "M0 5H30" }));
  const band = draw("svg", { width: 30, height: 10, "aria-hidden": "true" },
    draw("rect", { width: 30, height: 10, fill: "currentColor", opacity: 0.2 }));
  const dots = draw("svg", { width: 14 * report.machines.length, height: 10, "aria-hidden": "true" },
    ...report.machines.map((machine, index) => mark(machine, 7 + 14 * index, 5, 4, { fill: colour(machine) })));
  const tick = draw("svg", { width: 30, height: 10, "aria-hidden": "true" },
    draw("path", { class: "modelled", stroke: "currentColor", d: "M0 5H30M15 0V10" }));
  return [
    el("span", {}, dots, "measured runs"), el("span", {}, line("interpolated"), "interpolated between runs"),
    el("span", {}, line("modelled"), "best as modelled"), el("span", {}, band, "its 90 % interval"),
    el("span", {}, tick, "another shape of deployment"), el("span", {}, line("safe"), "safe choice as modelled"),
  ];
}

function choose(id, choices, now, pick) {
  byId(id).append(...choices.map(([value, title]) => el("label", {}, el("input", {
    type: "radio", name: id, value, checked: value === now ? "" : null, on: { change: () => pick(value) },
  }), title)));
}

const chart = new Chart(byId("chart"), (place) => {
  state.place = place;
  show();
});

function show() {
  showTarget();
  showMachines();
  showDeployments();
  showRows();
  chart.draw(state);
}

byId("target").max = report.grid.length - 1;
byId("target").addEventListener("input", (event) => {
  state.place = Number(event.target.value);
  show();
});
byId("reset").addEventListener("click", () => {
  for (const machine of report.machines) {
    prices.set(machine.sku, machine.price);
    const input = byId(`price-${machine.sku}`);
    input.value = machine.price.toFixed(2);
    input.setAttribute("aria-invalid", "false");
  }
  byId("price-problem").textContent = "";
  show();
});
choose("metric", [["cost", "cost"], ["throughput", "throughput"], ["power", "per megawatt"]], state.metric, (value) => {
  state.metric = value;
  state.yLog = METRICS[value].log;
  byId("y-scale").querySelector(`[value=${state.yLog ? "log" : "linear"}]`).checked = true;
  chart.draw(state);
});
choose("y-scale", [["linear", "linear"], ["log", "log"]], "log", (value) => {
  state.yLog = value === "log";
  chart.draw(state);
});
choose("x-scale", [["linear", "linear"], ["log", "log"]], "linear", (value) => {
  state.xLog = value === "log";
  chart.draw(state);
});
makeMachines();
showOnce();
show();
