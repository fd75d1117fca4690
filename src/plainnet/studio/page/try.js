// @ts-check
// Step 4: a row made up by the reader; what the networks say to it moves as it is changed.

import { get, post, runPath } from "./api.js";
import { attempt, bar, byId, el, number, percent, reason } from "./dom.js";

let run = "";
let isAsking = false;
let isStale = false;

/** @param {string} name */
export async function showTry(name) {
  run = name;
  byId("try-lead").textContent = `${name}: change a value, and see what the networks say. An empty value is a missing one.`;
  byId("answer").replaceChildren(el("div", { id: "said" }), el("p", {}, el("button", { type: "button", id: "ask-why", click: explain }, "Why?")), el("div", { id: "why" }));
  await attempt(async () => {
    const fields = await get(`${runPath(name)}/form`);
    byId("fields").replaceChildren(...fields.map(field));
    byId("fields").oninput = ask;
    byId("fields").onsubmit = (/** @type {Event} */ event) => event.preventDefault();
    await ask();
  });
}

/** @param {any} column @param {number} i */
function field(column, i) {
  const id = `field-${i}`;
  const label = el("label", { for: id }, column.name);
  if (column.kind === "number") {
    const step = column.whole ? 1 : (column.high - column.low) / 200 || "any";
    const text = el("input", { id, type: "number", step: "any", value: column.whole ? column.value : Number(column.value.toPrecision(6)), "data-name": column.name });
    const slide = el("input", { type: "range", min: column.low, max: column.high, step, value: column.value, "aria-label": `${column.name}, slider` });
    slide.addEventListener("input", () => (text.value = String(Number(Number(slide.value).toPrecision(6)))));
    text.addEventListener("input", () => (slide.value = text.value));
    return el("div", { class: "field" }, label, slide, text);
  }
  if (column.kind === "date") return el("div", { class: "field" }, label, el("input", { id, type: "date", "data-name": column.name }));
  const options = column.levels.map((/** @type {string} */ level) => el("option", { value: level }, level));
  return el("div", { class: "field" }, label, el("select", { id, "data-name": column.name }, ...options, el("option", { value: "" }, "(missing)")));
}

/** @returns {Record<string, string>} */
const values = () => Object.fromEntries([...document.querySelectorAll("#fields [data-name]")].map((each) => [each.getAttribute("data-name"), /** @type {any} */ (each).value]));

/** Say what made the prediction of the values as they are. */
async function explain() {
  const place = byId("why");
  place.replaceChildren(el("p", { class: "note" }, "Trying columns in and out …"));
  try {
    const found = await post(`${runPath(run)}/why`, values());
    const most = Math.max(...found.contributions.map((/** @type {any} */ each) => Math.abs(each.value)), 1e-12);
    const rows = found.contributions.map((/** @type {any} */ each) => bar(`${each.column} = ${each.cell ?? "(missing)"}`, `${each.value > 0 ? "+" : ""}${number(each.value)}`, Math.abs(each.value) / most));
    const what = found.output === "prediction" ? "the prediction" : `the probability of ${found.output}`;
    place.replaceChildren(el("p", { class: "note" }, `From ${number(found.base)}, the mean over training rows, to ${number(found.prediction)}: what each column adds to ${what}.`), ...rows);
  } catch (error) {
    place.replaceChildren(el("p", { class: "note" }, reason(error)));
  }
}

/** Ask for the newest values; while an answer is under way, changes wait for it. */
async function ask() {
  isStale = true;
  if (isAsking) return;
  isAsking = true;
  await attempt(async () => {
    while (isStale) {
      isStale = false;
      show(await post(`${runPath(run)}/answer`, values()));
    }
  });
  isAsking = false;
}

/** @param {any} answer */
function show(answer) {
  const place = byId("said");
  byId("why").replaceChildren();
  if (answer.classes) {
    const [best, sure] = answer.classes[0];
    const bars = answer.classes.slice(0, 8).map((/** @type {[string, number]} */ [name, share]) => bar(name, percent(share), share));
    // Always in the same order, so that the bars grow and shrink where they stand.
    const ordered = answer.classes.slice(0, 8).map((/** @type {any} */ each, /** @type {number} */ i) => [each[0], bars[i]]).sort((/** @type {any} */ a, /** @type {any} */ b) => (a[0] < b[0] ? -1 : 1));
    place.replaceChildren(el("div", { class: "note" }, "The networks say"), el("div", { class: "big" }, best), el("div", { class: "note" }, `with ${percent(sure)}`), ...ordered.map((/** @type {any} */ each) => each[1]));
  } else {
    const interval = answer.low === undefined ? null : el("div", { class: "note" }, `between ${number(answer.low)} and ${number(answer.high)} in 9 of 10 cases`);
    place.replaceChildren(el("div", { class: "note" }, "The networks say"), el("div", { class: "big" }, number(answer.value)), interval);
  }
}
