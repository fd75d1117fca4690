// @ts-check
// Where the page is: the address says the step and the run (#judge/adult-1), so that a reload, a link and the back button work.

import { get } from "./api.js";
import { listTables, startChoosing } from "./choose.js";
import { byId, message, reason } from "./dom.js";
import { listRuns, showJudge } from "./judge.js";
import { showKeep } from "./keep.js";
import { showTry } from "./try.js";
import { expect, redraw, startWatching } from "./watch.js";

const STEPS = ["choose", "watch", "judge", "try", "keep"];
/** @type {any} */
let state = null;
let run = "";

async function refresh() {
  state = await get("/api/state");
  listTables(state);
  listRuns(state.runs, run);
  return state;
}

/** @param {boolean} moves whether the reader asked for it, and the focus goes along */
async function go(moves) {
  const [asked, name] = location.hash.slice(1).split("/");
  const step = STEPS.includes(asked) ? asked : "choose";
  run = name ? decodeURIComponent(name) : run || state.runs[0]?.name || "";
  for (const each of STEPS) byId(each).hidden = each !== step;
  for (const button of document.querySelectorAll("#steps button")) {
    if (button.getAttribute("data-step") === step) button.setAttribute("aria-current", "step");
    else button.removeAttribute("aria-current");
  }
  document.title = `${byId(`${step}-title`).textContent} · plainnet studio`;
  if (moves) byId("main").focus({ preventScroll: true });
  if (moves) window.scrollTo(0, 0);
  if (step === "watch") redraw();
  if (step === "judge") {
    listRuns(state.runs, run);
    if (run) await showJudge(run);
  }
  if (step === "try" && run) await showTry(run);
  if (step === "keep" && run) await showKeep(run);
}

async function start() {
  if (location.search) history.replaceState(null, "", `/${location.hash}`); // the token has done its work
  try {
    state = await get("/api/state");
  } catch (error) {
    message(reason(error));
    return;
  }
  const isTraining = state.training && !["done", "failed"].includes(state.training.phase);
  if (!location.hash) history.replaceState(null, "", isTraining ? "#watch" : "#choose");
  startChoosing(state, refresh, watch);
  startWatching(async (training) => {
    if (training.run) run = training.run;
    await refresh();
  });
  for (const button of document.querySelectorAll("#steps button")) button.addEventListener("click", () => (location.hash = stepAddress(button.getAttribute("data-step") ?? "")));
  window.addEventListener("hashchange", () => go(true));
  await go(false);
}

/** @param {string} step */
const stepAddress = (step) => (["judge", "try", "keep"].includes(step) && run ? `${step}/${encodeURIComponent(run)}` : step);

/** @param {any} training */
function watch(training) {
  expect(training);
  if (location.hash === "#watch") redraw();
  else location.hash = "watch";
}

start();
