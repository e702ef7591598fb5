"use strict";
// Costs at other prices. The price of a GPU-hour multiplies every cost of its machine alike, so it
// changes which machine wins and never which deployment of one: what is drawn is exact.

const report = JSON.parse(document.getElementById("content").textContent);
const KINDS = ["measured", "modelled"];
const prices = new Map(report.machines.map((machine) => [machine.sku, machine.price]));

const scale = (machine) => prices.get(machine.sku) / machine.price;

// One machine at one place of the grid, at the prices of now; null where it has no value.
function valueAt(machine, kind, place) {
  const found = machine[kind][place];
  if (!found) return null;
  const factor = scale(machine);
  const priced = { ...found, cost: found.cost * factor };
  if (found.cost_90) priced.cost_90 = found.cost_90.map((cost) => cost * factor);
  return priced;
}

// Machines with a value, the cheapest first.
function rankedAt(kind, place) {
  return report.machines
    .map((machine) => ({ machine, value: valueAt(machine, kind, place) }))
    .filter((each) => each.value)
    .sort((one, other) => one.value.cost - other.value.cost);
}

// Half of the 90 % interval of the ratio of two modelled costs, errors that both share left out.
function apartAt(one, other, place) {
  const [row, column] = [one, other].map((each) => report.machines.indexOf(each));
  return report.apart[place][row][column];
}

function tooClose(one, other, kind, place) {
  const known = kind === "modelled"
    ? apartAt(one.machine, other.machine, place)
    : Math.log1p(report.noise);
  return Math.abs(Math.log(one.value.cost / other.value.cost)) <= known;
}

// Name of the cheapest machine; `too_close` where none stands out; null where fewer than two count.
// One that cannot reach the target loses; one that was not measured does not count.
function winnerAt(kind, place) {
  const ranked = rankedAt(kind, place);
  const known = report.machines.filter((machine) =>
    machine[kind][place] || kind === "modelled" || machine.beyond[place]);
  if (!ranked.length || known.length < 2) return null;
  const [first, ...others] = ranked;
  if (others.some((other) => tooClose(first, other, kind, place))) return report.too_close;
  return first.machine.sku;
}

// Price of a machine at which it ties with the cheapest of the others, at theirs.
function tieOf(machine, kind, place) {
  const own = valueAt(machine, kind, place);
  const other = rankedAt(kind, place).find((each) => each.machine !== machine);
  if (!own || !other) return null;
  return {
    price: prices.get(machine.sku) * other.value.cost / own.cost,
    against: other.machine.sku,
  };
}
