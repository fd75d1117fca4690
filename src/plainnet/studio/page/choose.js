// @ts-check
// Step 1: a table, its columns, the one to predict.

import { get, post, upload } from "./api.js";
import { sparkline } from "./charts.js";
import { attempt, byId, count, el, message, number, percent, size } from "./dom.js";

const KINDS = ["number", "category", "flag", "date", "ignored"];
const EXAMPLES = { moons: "two moons", circles: "circles", spirals: "spirals", tutorial: "the first tutorial’s 100 random rows" };

/** @type {{table: string, kinds: Record<string, string>, columns: any[]}} */
const chosen = { table: "", kinds: {}, columns: [] };

/** @param {any} state @param {() => Promise<any>} refresh @param {(training: any) => void} begun */
export function startChoosing(state, refresh, begun) {
  const drop = byId("drop");
  byId("drop-note").textContent = `It stays on this machine, in ${state.work}. Up to ${state.most_bytes / 2 ** 30} GiB.`;
  for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (/** @type {Event} */ event) => (event.preventDefault(), drop.classList.add("over")));
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    take(event.dataTransfer?.files[0], refresh);
  });
  byId("file").addEventListener("change", () => {
    take(byId("file").files[0], refresh);
    byId("file").value = "";
  });
  byId("examples").replaceChildren(
    ...Object.keys(state.examples).map((name) => el("li", {}, el("button", { type: "button", "data-example": name, "aria-pressed": "false", click: () => example(name, state.examples[name], refresh) }, EXAMPLES[/** @type {keyof typeof EXAMPLES} */ (name)] ?? name))),
  );
  byId("target").addEventListener("change", drawColumns);
  byId("order").addEventListener("submit", async (/** @type {Event} */ event) => {
    event.preventDefault();
    byId("train").disabled = true;
    message("");
    await attempt(async () => begun(await post("/api/train", order())));
    byId("train").disabled = false;
  });
  listTables(state);
}

/** @param {any} state */
export function listTables(state) {
  byId("tables").replaceChildren(
    ...state.tables.map((/** @type {any} */ table) =>
      el("li", {}, el("button", { type: "button", "aria-pressed": String(table.name === chosen.table), "data-table": table.name, click: () => choose(table.name, table.target) }, table.name, el("small", {}, table.target ? "bundled" : size(table.bytes)))),
    ),
  );
}

/** @param {File | undefined} file @param {() => Promise<any>} refresh */
async function take(file, refresh) {
  if (!file) return;
  const bar = byId("upload");
  message("");
  bar.hidden = false;
  await attempt(async () => {
    const { name } = await upload("/api/tables", file, (share) => (bar.value = share));
    await refresh();
    await choose(name, null);
  });
  bar.hidden = true;
}

/** @param {string} name @param {any} settings @param {() => Promise<any>} refresh */
const example = (name, settings, refresh) =>
  attempt(async () => {
    const made = await post("/api/examples", { name });
    await refresh();
    await choose(made.name, settings.target, settings);
  });

/**
 * Look at a table.
 * @param {string} table @param {string | null} target @param {any} [settings]
 */
async function choose(table, target, settings) {
  message("");
  await attempt(async () => {
    const found = await post("/api/columns", { table, kinds: {} });
    Object.assign(chosen, { table, kinds: {}, columns: found.columns });
    const names = found.columns.map((/** @type {any} */ column) => column.name);
    byId("target").replaceChildren(...names.map((/** @type {string} */ name) => el("option", { value: name }, name)));
    byId("target").value = target ?? names[names.length - 1];
    byId("table-title").textContent = `${table}: ${count(found.rows, "row", "rows")}, ${count(names.length, "column", "columns")}`;
    byId("looked-at").textContent = found.looked_at < found.rows ? `Drawn from ${found.looked_at.toLocaleString("en")} of its rows, at random; the training takes all.` : "";
    byId("notes").replaceChildren(...found.notes.map((/** @type {string} */ note) => el("li", {}, note)));
    prefill(settings ?? {});
    drawColumns();
    byId("order").hidden = false;
    for (const button of document.querySelectorAll("[data-table]")) button.setAttribute("aria-pressed", String(button.getAttribute("data-table") === table));
    byId("table-title").focus({ preventScroll: true });
    byId("order").scrollIntoView({ block: "start", behavior: "smooth" });
  });
}

/** @param {any} settings */
function prefill(settings) {
  const form = byId("order");
  for (const name of ["members", "epochs", "learning_rate", "time_limit"]) form.elements[name].value = settings[name] ?? "";
  form.elements.hidden.value = (settings.hidden ?? []).join(", ");
  form.elements.activation.value = settings.activation ?? "silu";
  form.elements.seconds.value = settings.seconds ?? 0;
  form.elements.effort.value = settings.effort ?? "default";
}

function order() {
  const form = byId("order");
  /** @type {Record<string, any>} */
  const found = { table: chosen.table, target: byId("target").value, kinds: { ...chosen.kinds }, effort: form.elements.effort.value, activation: form.elements.activation.value };
  delete found.kinds[found.target];
  for (const name of ["members", "epochs", "learning_rate", "time_limit", "seed", "seconds"]) if (form.elements[name].value !== "") found[name] = Number(form.elements[name].value);
  const hidden = form.elements.hidden.value.split(/[ ,]+/).filter(Boolean).map(Number);
  if (hidden.length) found.hidden = hidden;
  return found;
}

function drawColumns() {
  const target = byId("target").value;
  byId("columns").tBodies[0].replaceChildren(...chosen.columns.map((column) => row(column, column.name === target)));
}

/** @param {any} column @param {boolean} isTarget */
function row(column, isTarget) {
  const kinds = KINDS.includes(column.kind) ? KINDS : [column.kind, ...KINDS];
  const select = el(
    "select",
    { "aria-label": `Kind of ${column.name}`, change: (/** @type {any} */ event) => change(column, event.target) },
    ...kinds.map((kind) => el("option", { value: kind, selected: kind === column.kind, disabled: !KINDS.includes(kind) }, kind)),
  );
  const isOut = !["number", "category", "flag", "date"].includes(column.kind);
  return el(
    "tr",
    { class: isTarget ? "target" : isOut ? "out" : null },
    el("td", { class: "name" }, column.name),
    el("td", {}, isTarget ? "to predict" : select),
    el("td", {}, picture(column)),
    el("td", { class: "number" }, column.missing ? percent(column.missing) : "0 %"),
    el("td", { class: "why" }, isTarget ? "the column to predict" : column.why),
  );
}

/** @param {any} column */
function picture(column) {
  if (column.bars) {
    const show = column.unit === "date" ? (/** @type {number} */ value) => new Date(value * 1000).toISOString().slice(0, 10) : number;
    const words = `from ${show(column.low)} to ${show(column.high)}`;
    return el("div", {}, sparkline(column.bars, `Histogram ${words}`), el("span", { class: "note" }, words));
  }
  if (column.levels) return el("div", { class: "levels" }, ...column.levels.slice(0, 3).map((/** @type {[string, number]} */ [level, share]) => el("span", { "--share": `${100 * share}%`, title: `${level}: ${percent(share)}` }, level)), column.levels.length > 3 ? "…" : null);
  return "";
}

/** @param {any} column @param {HTMLSelectElement} select */
async function change(column, select) {
  const kinds = { ...chosen.kinds, [column.name]: select.value };
  await attempt(async () => {
    const found = await post("/api/columns", { table: chosen.table, kinds });
    message("");
    chosen.kinds = kinds;
    chosen.columns = found.columns;
  });
  drawColumns();
  const again = [...document.querySelectorAll("#columns select")].find((each) => each.getAttribute("aria-label") === `Kind of ${column.name}`);
  if (again instanceof HTMLElement) again.focus();
}
