// @ts-check
// Step 5: the model, predictions for another file, and the Python that does the same.

import { get, getText, postFile, runPath } from "./api.js";
import { attempt, byId, el, message, reason } from "./dom.js";

/** @param {string} run */
export async function showKeep(run) {
  byId("keep-lead").textContent = `${run}: a run folder on this machine, which the command line and Python read too.`;
  const code = el("pre", { tabindex: 0, "aria-label": "Python", role: "region" });
  const note = el("p", { class: "note", role: "status" });
  const show = async (/** @type {string} */ kind) => {
    try {
      code.textContent = await getText(`${runPath(run)}/script?kind=${kind}`);
    } catch (error) {
      code.textContent = reason(error);
    }
    for (const button of document.querySelectorAll("[data-kind]")) button.setAttribute("aria-pressed", String(button.getAttribute("data-kind") === kind));
  };
  const kinds = [["plainnet", "With plainnet: the same model"], ["pytorch", "Plain PyTorch: one of its networks"]];
  const file = el("input", { type: "file", id: "rows", change: () => predict(run, file, note) });
  const report = el("p", { hidden: true }, el("a", { class: "button", href: `${runPath(run)}/report`, download: true }, "Download the report"));
  byId("kept").replaceChildren(
    el(
      "div",
      { class: "cards" },
      el("div", { class: "card" }, el("h3", {}, "The model"), el("p", { class: "note" }, "One safetensors file: weights, and readable JSON that says what the columns are."), el("p", {}, el("a", { class: "button main", href: `${runPath(run)}/model`, download: true }, "Download the model")), el("p", {}, el("a", { class: "button", href: `${runPath(run)}/onnx`, download: true }, "As ONNX, for other languages")), report),
      el("div", { class: "card" }, el("h3", {}, "Predictions for other rows"), el("p", { class: "note" }, "A file with the same columns; it comes back as CSV, with the predictions after them."), el("p", {}, el("label", { for: "rows", class: "hidden" }, "File with rows to predict"), file), note),
    ),
    el("h2", {}, "The Python that does the same"),
    el("div", { class: "bar" }, ...kinds.map(([kind, text]) => el("button", { type: "button", "data-kind": kind, "aria-pressed": "false", click: () => show(kind) }, text)), el("button", { type: "button", click: () => copy(code, note) }, "Copy")),
    code,
  );
  await show("plainnet");
  await attempt(async () => (report.hidden = !(await get(runPath(run))).has_report));
}

/** @param {HTMLElement} code @param {HTMLElement} note */
async function copy(code, note) {
  try {
    await navigator.clipboard.writeText(code.textContent ?? "");
    note.textContent = "Copied.";
  } catch {
    message("The browser does not let this page copy: mark the text, and copy it yourself.");
  }
}

/** @param {string} run @param {HTMLInputElement} input @param {HTMLElement} note */
async function predict(run, input, note) {
  const rows = input.files?.[0];
  if (!rows) return;
  note.textContent = "Predicting …";
  try {
    const blob = await postFile(`${runPath(run)}/predictions`, rows);
    const link = el("a", { href: URL.createObjectURL(blob), download: `predictions-${rows.name.replace(/\..*$/, "")}.csv` });
    link.click();
    note.textContent = "Done: the file is with your downloads.";
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  } catch (error) {
    note.textContent = "";
    message(reason(error));
  }
  input.value = "";
}
