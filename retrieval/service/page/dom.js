// Elements from plain calls. Texts become text nodes, so nothing that a catalogue holds is markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element: attributes whose name starts with "on" are listeners, true is an attribute without a
 * value, and false, null or undefined is none. Children are texts, nodes, or lists of them; null,
 * undefined and false are none.
 */
export function element(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for an element of SVG. */
export function svg(tag, attributes, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return node;
}

/** A function that waits until it has not been called for a while. */
export function settled(milliseconds, callback) {
  let timer;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => callback(...values), milliseconds);
  };
}

/** A count as people read it: 12,345. */
export function count(number) {
  return number.toLocaleString("en-GB");
}

/** A number with its noun: 1 item, 2 items. */
export function counted(number, noun, plural = `${noun}s`) {
  return `${count(number)} ${number === 1 ? noun : plural}`;
}

/** A score, a distance or a figure with four digits; a dash where there is none. */
export function figure(number) {
  if (number == null) return "–";
  return number.toFixed(4).replace(/^-(?=.*[1-9])/, "−").replace("-", ""); // −0.0000 is 0.0000
}

/** A probability: 98 %. What is not certain is never shown as 100 %. */
export function percent(share) {
  if (share > 0.99 && share < 1) return "> 99 %";
  if (share > 0 && share < 0.01) return "< 1 %";
  return `${Math.round(share * 100)} %`;
}
