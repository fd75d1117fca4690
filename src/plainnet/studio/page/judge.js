// @ts-check
// Step 3: how good it is, on rows that no network has seen.

import { get, runPath } from "./api.js";
import { calibration, errorBars, scatter } from "./charts.js";
import { bar, byId, count, duration, el, message, number, percent, reason } from "./dom.js";

/** @param {string} run */
export async function showJudge(run) {
  const place = byId("judged");
  place.replaceChildren(el("p", { class: "note" }, "Predicting the test rows …"));
  byId("judge-lead").textContent = run;
  try {
    const found = await get(runPath(run));
    byId("judge-lead").textContent = `${found.name}: predicts ${found.target} from ${found.table}, ${count(found.rows, "row", "rows")}; ${count(found.members, "network", "networks")}, trained for ${duration(found.seconds)}${{ time: ", ended by the time limit", on_epoch: ", stopped early", interrupt: ", stopped by Ctrl-C" }[/** @type {string} */ (found.training.stopped_by)] ?? ""}.`;
    const left = found.rows - ["train", "validation", "test"].reduce((all, part) => all + (found.split[part] ?? 0), 0);
    if (left) byId("judge-lead").append(` ${count(left, "row has", "rows have")} no value in ${found.target}, and ${left === 1 ? "was" : "were"} left out.`);
    place.replaceChildren(...parts(found));
    if (!found.unseen) await addImportance(run);
  } catch (error) {
    place.replaceChildren();
    message(reason(error));
  }
}

/** @param {any} found */
function* parts(found) {
  const part = ["test", "cross-validation"].find((each) => found.scores[each]) ?? Object.keys(found.scores).at(-1);
  if (!part) return;
  yield el("h2", {}, `On ${found.scores[part][0].rows.toLocaleString("en")} ${part === "test" ? "rows that were held out" : `rows (${part})`}`);
  yield el("div", { class: "scores" }, ...found.scores[part].map(card));
  if (found.unseen) yield el("p", { class: "note" }, `Its errors are not drawn: ${found.unseen}`);
  const important = found.unseen ? null : el("figure", { id: "importance" }, el("h3", {}, "What it rests on"), el("p", { class: "note" }, "Shuffling columns …"));
  const pictures = [confusion(found), calibrated(found), ...residuals(found), important].filter(Boolean);
  if (pictures.length) yield el("div", { class: "pictures" }, ...pictures);
  if (found.worst) yield* worst(found.worst);
  yield el("details", {}, el("summary", {}, "All scores"), el("div", { class: "scroll" }, allScores(found.scores)));
}

/** @param {any} score */
function card(score) {
  const isBetter = score.higher_is_better ? score.value > score.baseline : score.value < score.baseline;
  const interval = typeof score.low === "number" && typeof score.high === "number" ? el("div", { class: "note" }, `95 %: ${number(score.low)} to ${number(score.high)}`) : null;
  const beside =
    typeof score.aim === "number"
      ? el("div", { class: "note" }, `should be ${number(score.aim)}`)
      : el("div", { class: "note" }, el("span", { class: isBetter ? "better" : "worse" }, isBetter ? "better" : "not better"), ` than ${number(score.baseline)}, got without looking at a column`);
  return el("div", { class: "score" }, el("span", {}, score.metric, typeof score.aim === "number" ? null : el("small", {}, score.higher_is_better ? "higher is better" : "lower is better")), el("b", {}, number(score.value)), interval, beside);
}

/** @param {any} found */
function confusion(found) {
  if (!found.confusion) return found.n_classes ? el("figure", {}, el("h3", {}, "Confusion"), `${found.n_classes} classes are too many to draw.`) : null;
  const rows = found.confusion.map((/** @type {number[]} */ counts, /** @type {number} */ i) => {
    const all = counts.reduce((a, b) => a + b, 0) || 1;
    return el("tr", {}, el("th", { scope: "row" }, found.classes[i]), ...counts.map((each) => el("td", { "--share": `${Math.round((45 * each) / all)}%` }, each.toLocaleString("en"))));
  });
  const head = el("tr", {}, el("th", { scope: "col" }, "is ↓ predicted →"), ...found.classes.map((/** @type {string} */ name) => el("th", { scope: "col", class: "number" }, name)));
  return el("figure", {}, el("h3", {}, "What is taken for what"), el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Confusion matrix" }, el("table", { class: "confusion" }, el("thead", {}, head), el("tbody", {}, ...rows))), el("figcaption", {}, "Rows of the table: the true classes; columns: what the networks said."));
}

/** @param {any} found */
function calibrated(found) {
  if (!found.calibration) return null;
  return el("figure", {}, el("h3", {}, "Can the probabilities be believed?"), calibration(found.calibration.bins, found.calibration.of), el("figcaption", {}, "On the dashed line what is said with 70 % comes true in 70 % of cases. Each dot is a tenth of the rows."));
}

/** @param {any} found */
function residuals(found) {
  if (!found.residuals) return [];
  const { points, rows, bars, low, high } = found.residuals;
  const drawn = points.length < rows ? ` ${points.length.toLocaleString("en")} of ${rows.toLocaleString("en")} rows are drawn, at random.` : "";
  return [
    el("figure", {}, el("h3", {}, "Predicted against true"), scatter(points), el("figcaption", {}, `On the dashed line a prediction is right.${drawn}`)),
    el("figure", {}, el("h3", {}, "Errors"), errorBars(bars, low, high), el("figcaption", {}, "How far off, and which way; the outermost hundredths are in the last bars.")),
  ];
}

/** The columns, when they have been shuffled: it takes a moment. @param {string} run */
async function addImportance(run) {
  const place = byId("importance");
  if (!place) return;
  try {
    const found = await get(`${runPath(run)}/importance`);
    const most = Math.max(...found.columns.map((/** @type {any} */ each) => each.value), 1e-12);
    const rows = found.columns.map((/** @type {any} */ each) => bar(each.column, number(each.value), Math.max(0, each.value / most), `95 %: ${number(each.low)} to ${number(each.high)}`));
    const left = found.left_out ? ` ${count(found.left_out, "column counts", "columns count")} less.` : "";
    place.replaceChildren(el("h3", {}, "What it rests on"), ...rows, el("figcaption", {}, `By how much the ${found.metric} grows when a column is shuffled among ${count(found.rows, "test row", "test rows")}.${left}`));
  } catch (error) {
    place.replaceChildren(el("h3", {}, "What it rests on"), el("p", { class: "note" }, reason(error)));
  }
}

/** @param {any} worst */
function* worst(worst) {
  yield el("h2", { id: "worst-title" }, "The rows that are most wrong");
  const head = el("tr", {}, el("th", { scope: "col", class: "number" }, "row"), ...worst.headings.map((/** @type {string} */ each) => el("th", { scope: "col" }, each)));
  const rows = worst.rows.map((/** @type {string[]} */ cells, /** @type {number} */ i) => el("tr", {}, el("td", { class: "number" }, worst.numbers[i].toLocaleString("en")), ...cells.map((cell, k) => el("td", { class: k < worst.told ? "told" : null }, cell))));
  yield el("div", { class: "scroll", role: "region", "aria-labelledby": "worst-title", tabindex: 0 }, el("table", { class: "worst" }, el("thead", {}, head), el("tbody", {}, ...rows)));
  if (worst.left_out) yield el("p", { class: "note" }, `${count(worst.left_out, "further column is", "further columns are")} not shown.`);
}

/** @param {any} scores */
function allScores(scores) {
  const rows = Object.entries(scores).flatMap(([part, list]) => list.map((/** @type {any} */ score) => el("tr", {}, el("td", {}, part), el("td", {}, score.metric), el("td", { class: "number" }, number(score.value)), el("td", { class: "number" }, typeof score.low === "number" ? `${number(score.low)} to ${number(score.high)}` : ""), el("td", { class: "number" }, number(score.baseline)), el("td", { class: "number" }, score.rows.toLocaleString("en")))));
  return el("table", {}, el("thead", {}, el("tr", {}, ...["Rows", "Score", "Networks", "95 %", "Baseline", "How many"].map((each, i) => el("th", { scope: "col", class: i > 1 ? "number" : null }, each)))), el("tbody", {}, ...rows));
}

/** All runs of the folder, comparable side by side. @param {any[]} runs @param {string} here */
export function listRuns(runs, here) {
  const place = byId("runs");
  if (!runs.length) return place.replaceChildren(el("p", { class: "note" }, "No run yet."));
  const own = runs.filter((run) => run.name === here); // its scores come first
  const metrics = [...new Set([...own, ...runs].flatMap((run) => run.scores.map((/** @type {any} */ score) => score.metric)))];
  const head = ["Run", "Made", "Table", "Predicts", "Rows", "Networks", "Trained", ...metrics];
  const body = runs.map((run) => {
    const by = Object.fromEntries(run.scores.map((/** @type {any} */ score) => [score.metric, score]));
    const cells = [run.rows.toLocaleString("en"), run.members, duration(run.seconds), ...metrics.map((name) => (by[name] ? number(by[name].value) : ""))];
    return el("tr", { class: run.name === here ? "here" : null }, el("td", {}, el("button", { type: "button", class: "link", click: () => (location.hash = `judge/${encodeURIComponent(run.name)}`) }, run.name)), el("td", { class: "number" }, run.created.slice(0, 16).replace("T", " ")), el("td", {}, run.table), el("td", {}, run.target), ...cells.map((cell) => el("td", { class: "number" }, cell)));
  });
  place.replaceChildren(el("table", {}, el("thead", {}, el("tr", {}, ...head.map((each, i) => el("th", { scope: "col", class: i > 3 || i === 1 ? "number" : null }, each)))), el("tbody", {}, ...body)));
}
