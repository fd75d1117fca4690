// @ts-check
// Elements and numbers. Whatever comes from a table is written as text, never as HTML.

/** @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);

/**
 * Make an element. Functions become listeners, false and null are left out, --names become custom properties.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Node | string | number | null | undefined)} children
 * @returns {any}
 */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** As el, in SVG. @param {string} tag @param {Record<string, any>} [attributes] @param {...(Node | string | number)} children @returns {any} */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

/** @param {any} element @param {Record<string, any>} attributes @param {any[]} children */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name.startsWith("--")) element.style.setProperty(name, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child !== null && child !== undefined) element.append(child instanceof Node ? child : String(child));
  return element;
}

/** A named share as a bar. @param {string} name @param {string} value @param {number} share from 0 to 1 @param {string} [note] @returns {any} */
export const bar = (name, value, share, note) => el("div", { class: "chance" }, el("span", {}, name, note ? el("small", {}, ` ${note}`) : null), el("b", {}, value), el("i", { "--share": `${100 * share}%`, "aria-hidden": "true" }));

/** Five digits at most, as people write numbers. @param {number | null | undefined} value */
export function number(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1e6 || (size > 0 && size < 1e-4)) return value.toExponential(2);
  return Number(value.toPrecision(4)).toLocaleString("en", { maximumSignificantDigits: 5, useGrouping: size >= 10000 });
}

/** @param {number} value */
export const percent = (value) => `${(100 * value).toFixed(value > 0 && value < 0.1 ? 1 : 0)} %`;

/** @param {number} value @param {string} one @param {string} many */
export const count = (value, one, many) => `${value.toLocaleString("en")} ${value === 1 ? one : many}`;

/** @param {number} bytes */
export const size = (bytes) => (bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.max(1, Math.round(bytes / 1e3))} kB`);

/** @param {number} seconds */
export function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  return seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}

/** What an error says. @param {unknown} error */
export const reason = (error) => (error instanceof Error ? error.message : String(error));

/** Do something, and say what went wrong. @param {() => Promise<any>} work */
export const attempt = (work) => work().catch((error) => message(reason(error)));

/** Say what went wrong; '' takes it away. @param {string} text */
export function message(text) {
  const close = el("button", { type: "button", click: () => message("") }, "Close");
  byId("message").replaceChildren(...(text ? [el("span", {}, text), close] : []));
  if (text) byId("message").scrollIntoView({ block: "nearest" });
}
