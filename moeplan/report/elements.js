// Elements with text as text: nothing that a user named can become markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    } else {
      element.setAttribute(name, value);
    }
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const el = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);
const byId = (id) => document.getElementById(id);

// Figures as the command line writes them.
const figure = (value) => Math.abs(value) >= 1000
  ? value.toLocaleString("en-US", { maximumFractionDigits: 0 })
  : Number(value).toPrecision(4);
const dollars = (value) => value.toFixed(4);
const price = (value) => value.toLocaleString("en-US",
  { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const times = (value) => `${value.toFixed(2)}x`;
const percent = (value) => `${(100 * value).toFixed(1)} %`;
const plain = (value) => String(Number(value.toPrecision(6)));

const colour = (machine) => `var(--m${report.machines.indexOf(machine) % 6})`;

// A shape for each machine: told apart without colour.
function mark(machine, x, y, size, attributes = {}) {
  const s = size;
  const shapes = [
    () => draw("circle", { cx: x, cy: y, r: s, ...attributes }),
    () => draw("rect", { x: x - s * 0.9, y: y - s * 0.9, width: s * 1.8, height: s * 1.8, ...attributes }),
    () => draw("path", { d: `M${x} ${y - s * 1.2}L${x + s * 1.1} ${y + s * 0.8}H${x - s * 1.1}Z`, ...attributes }),
    () => draw("path", { d: `M${x} ${y - s * 1.3}L${x + s * 1.3} ${y}L${x} ${y + s * 1.3}L${x - s * 1.3} ${y}Z`, ...attributes }),
  ];
  return shapes[report.machines.indexOf(machine) % shapes.length]();
}

function named(machine) {
  const symbol = draw("svg", { width: 14, height: 14, "aria-hidden": "true" },
    mark(machine, 7, 7, 5, { fill: colour(machine) }));
  return el("span", { class: "name" }, symbol, machine.sku);
}

function table(element, caption, head, body) {
  element.replaceChildren(
    el("caption", {}, caption),
    el("thead", {}, ...head.map((cells) => el("tr", {}, ...cells))),
    el("tbody", {}, ...body),
  );
}
