// @ts-check
// Step 2: the training under way, as the server tells it by events. All of it is on the server: a reload draws it again.

import { post } from "./api.js";
import { classColour, drawCurves, drawNetwork, drawPlane } from "./charts.js";
import { attempt, byId, duration, el, number } from "./dom.js";

/** @type {{training: any, curves: Map<number, any>, plane: any, surface: any, network: any, spoken: number}} */
const seen = { training: null, curves: new Map(), plane: null, surface: null, network: null, spoken: 0 };

/** @param {(training: any) => void} ended */
export function startWatching(ended) {
  const source = new EventSource("/api/train/events");
  source.onmessage = (event) => take(JSON.parse(event.data), ended);
  source.onopen = () => (seen.spoken = 0);
  byId("pause").addEventListener("click", () => steer(seen.training?.paused ? "resume" : "pause"));
  byId("stop").addEventListener("click", () => steer("stop"));
  byId("to-judge").addEventListener("click", () => (location.hash = `judge/${encodeURIComponent(seen.training.run)}`));
  new ResizeObserver(drawAll).observe(byId("watch"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
}

/** @param {string} what */
const steer = (what) => attempt(() => post(`/api/train/${what}`, {}));

/** Take note of a training that was started here, before its first event: what is shown of the one before it is over. @param {any} training */
export function expect(training) {
  if (seen.training?.number !== training.number) take({ training, curves: [] }, () => {});
}

/** @param {any} event @param {(training: any) => void} ended */
function take(event, ended) {
  const before = seen.training;
  const isNew = !before || before.number !== event.training.number;
  if (isNew) Object.assign(seen, { curves: new Map(), plane: null, surface: null, network: null, spoken: 0 });
  seen.training = event.training;
  for (const [member, first, losses, valid] of event.curves) {
    const curve = seen.curves.get(member) ?? { losses: [], valid: [] };
    curve.losses.splice(first, Infinity, ...losses);
    curve.valid.splice(first, Infinity, ...valid);
    seen.curves.set(member, curve);
  }
  for (const name of ["plane", "surface", "network"]) if (event[name]) Object.assign(seen, { [name]: event[name] });
  drawAll();
  const isOver = ["done", "failed"].includes(event.training.phase);
  document.querySelector('[data-step="watch"]')?.toggleAttribute("data-live", !isOver);
  if (isOver && (isNew || !["done", "failed"].includes(before.phase))) ended(event.training);
}

function drawAll() {
  const training = seen.training;
  if (!training || byId("watch").hidden) return;
  const isOver = ["done", "failed"].includes(training.phase);
  byId("watching").hidden = false;
  byId("watch-lead").textContent = lead(training);
  byId("progress").value = isOver ? 1 : training.share;
  byId("pause").hidden = byId("stop").hidden = isOver;
  byId("pause").disabled = byId("stop").disabled = training.phase !== "training" || training.stopping;
  byId("pause").textContent = training.paused ? "Go on" : "Pause";
  byId("to-judge").hidden = training.phase !== "done";
  const facts = {
    Table: training.table,
    Target: training.target,
    Networks: `${training.begun} of ${training.members}`,
    "Epochs each, at most": training.epochs.toLocaleString("en"),
    "Epochs a second": number(training.epochs_a_second),
    Trained: duration(training.seconds),
    "Left, at most": isOver || training.seconds_left === null ? "–" : duration(training.seconds_left),
  };
  byId("facts").replaceChildren(...Object.entries(facts).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  drawCurves(byId("curves"), seen.curves, training.stride, training.epochs);
  byId("plane-figure").hidden = !seen.surface;
  if (seen.surface && seen.plane) {
    drawPlane(byId("plane"), seen.plane, seen.surface);
    const { classes, names } = seen.plane;
    if (byId("plane-caption").dataset.of !== String(training.number)) {
      byId("plane-caption").dataset.of = String(training.number);
      byId("plane-caption").replaceChildren(`${names[0]} across, ${names[1]} up. `, ...(classes.length ? classes.flatMap((/** @type {string} */ each, /** @type {number} */ i) => [el("span", { class: "dot", "--dot": classColour(i) }), each]) : []), el("br"), classes.length ? "The stronger the colour, the surer the networks are; the dots are rows." : "Blue: below the mean; orange: above it. The dots are rows.");
    }
  }
  byId("network-figure").hidden = !seen.network;
  if (seen.network) {
    drawNetwork(byId("network"), seen.network);
    const cut = seen.network.widths.some((/** @type {number} */ width) => width > seen.network.most) ? ` Of wide layers the first ${seen.network.most} are drawn.` : "";
    byId("network-caption").textContent = `Network ${seen.network.member + 1}: its layers, and the weights between them (orange above 0, blue below; thick: far from 0).${cut}`;
  }
  speak(training);
}

/** @param {any} training */
function lead(training) {
  switch (training.phase) {
    case "reading":
      return "Reading the table, and compiling what is used for the first time on this machine …";
    case "training":
      return training.paused ? "Paused. The networks wait." : "Each epoch is one pass over the rows. The loss says how wrong the networks still are.";
    case "scoring":
      return "Predicting the rows that no network has seen, to score them …";
    case "failed":
      return `The training failed: ${training.error}`;
    default:
      return "Done. Each network is kept as it was at its best epoch.";
  }
}

/** Tell those who do not see the curves, now and then. @param {any} training */
function speak(training) {
  const now = Date.now();
  const isOver = ["done", "failed"].includes(training.phase);
  if (now - seen.spoken < 8000 && !(isOver && byId("spoken").dataset.phase !== training.phase)) return;
  seen.spoken = now;
  byId("spoken").dataset.phase = training.phase;
  byId("spoken").textContent = `${lead(training)} ${Math.round(100 * training.share)} percent.`;
  const ends = [...seen.curves.values()].map((curve) => curve.losses.at(-1)).filter((value) => value !== undefined && value !== null);
  const loss = ends.length ? `, now ${number(ends.reduce((a, b) => a + b, 0) / ends.length)} on the training rows` : "";
  byId("curves").setAttribute("aria-label", `Loss by epoch${loss}`);
}

export const redraw = drawAll;
