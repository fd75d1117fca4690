// @ts-check
// Pictures: small ones as SVG, those that move on a canvas. Colours are the page's own, light or dark.

import { number, percent, svg } from "./dom.js";

/** @param {string} name */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** @param {number} index */
export const classColour = (index) => colour(`class-${index % 6}`);

/**
 * Make a canvas as sharp as the screen, and return its context and its size in CSS pixels.
 * @param {HTMLCanvasElement} canvas
 */
function prepare(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  const ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  context.font = `${0.78 * rem}px ${getComputedStyle(document.body).fontFamily}`;
  return { context, width, height, rem };
}

/** Round steps for an axis. @param {number} low @param {number} high @param {number} about */
function ticks(low, high, about) {
  const rough = (high - low) / about || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough) ?? rough;
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-6; value += step) found.push(Math.abs(value) < step * 1e-6 ? 0 : value);
  return found;
}

/**
 * Loss curves: each network's faint, their mean bold.
 * @param {HTMLCanvasElement} canvas
 * @param {Map<number, {losses: (number|null)[], valid: (number|null)[]}>} curves
 * @param {number} stride epochs from one point to the next
 * @param {number} epochs the last on the axis
 */
export function drawCurves(canvas, curves, stride, epochs) {
  const { context, width, height, rem } = prepare(canvas);
  if (!width) return;
  const all = [];
  for (const { losses, valid } of curves.values()) for (const list of [losses, valid]) for (const value of list) if (value !== null) all.push(value);
  if (!all.length) return;
  all.sort((a, b) => a - b);
  let low = all[0];
  // A first epoch far above all others would press them flat.
  let high = Math.min(all[all.length - 1], all[Math.floor(all.length * 0.98)] + (all[Math.floor(all.length * 0.98)] - low) * 0.5);
  if (high - low < 1e-12) [low, high] = [low - 0.5, high + 0.5];
  const margin = (high - low) * 0.06;
  [low, high] = [Math.max(low - margin, low > 0 ? 0 : low - margin), high + margin];
  const box = { left: 3.4 * rem, right: width - 10, top: 8, bottom: height - 2.3 * rem };
  const x = (/** @type {number} */ epoch) => box.left + ((box.right - box.left) * epoch) / Math.max(1, epochs - 1);
  const y = (/** @type {number} */ loss) => box.bottom - ((box.bottom - box.top) * (loss - low)) / (high - low);
  context.strokeStyle = colour("line");
  context.fillStyle = colour("soft");
  context.lineWidth = 1;
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const tick of ticks(low, high, height / 60)) {
    context.beginPath();
    context.moveTo(box.left, y(tick));
    context.lineTo(box.right, y(tick));
    context.stroke();
    context.fillText(number(tick), box.left - 8, y(tick));
  }
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const tick of ticks(0, Math.max(1, epochs - 1), Math.min(8, width / 90))) if (Number.isInteger(tick)) context.fillText(String(tick), x(tick), box.bottom + 5);
  context.fillText("epoch", (box.left + box.right) / 2, box.bottom + 1.25 * rem);
  context.save();
  context.beginPath();
  context.rect(box.left, box.top - 2, box.right - box.left + 2, box.bottom - box.top + 4);
  context.clip();
  context.lineJoin = "round";
  const line = (/** @type {(number|null)[]} */ values, /** @type {string} */ ink, /** @type {number} */ thick, /** @type {number} */ alpha) => {
    context.globalAlpha = alpha;
    context.strokeStyle = ink;
    context.lineWidth = thick;
    context.beginPath();
    let isUp = true;
    values.forEach((value, i) => {
      if (value === null) isUp = true;
      else if (isUp) (context.moveTo(x(i * stride), y(value)), (isUp = false));
      else context.lineTo(x(i * stride), y(value));
    });
    context.stroke();
  };
  for (const [key, ink] of /** @type {["losses" | "valid", string][]} */ ([["losses", colour("accent")], ["valid", colour("contrast")]])) {
    const lists = [...curves.values()].map((curve) => curve[key]);
    if (lists.length > 1) for (const list of lists) line(list, ink, 1, 0.25);
    line(mean(lists), ink, 2.5, 1);
  }
  context.restore();
}

/** Mean over the networks that were still trained, as long as they are half of all: the mean of a few would jump. @param {(number|null)[][]} lists */
export function mean(lists) {
  const longest = Math.max(0, ...lists.map((list) => list.length));
  return Array.from({ length: longest }, (_, i) => {
    const there = lists.map((list) => list[i]).filter((value) => value !== null && value !== undefined);
    return 2 * there.length >= lists.length ? there.reduce((a, b) => a + b, 0) / there.length : null;
  });
}

/** @param {string} text "#rrggbb" */
const channels = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));

/**
 * What is said over two inputs, and the rows it was learnt from.
 * @param {HTMLCanvasElement} canvas
 * @param {{names: string[], bounds: number[], points: number[][], classes: string[], side: number}} plane
 * @param {number[]} surface 100 times the class and its probability in percent; or 50 ± 20 standard deviations
 */
export function drawPlane(canvas, plane, surface) {
  const { context, width, height } = prepare(canvas);
  if (!width || !surface) return;
  const side = plane.side;
  const picture = document.createElement("canvas");
  picture.width = picture.height = side;
  const inside = /** @type {CanvasRenderingContext2D} */ (picture.getContext("2d"));
  const pixels = inside.createImageData(side, side);
  const paper = channels(colour("card"));
  const isClass = plane.classes.length > 0;
  const inks = isClass ? plane.classes.map((_, i) => channels(classColour(i))) : [channels(colour("accent")), channels(colour("contrast"))];
  const least = isClass ? 100 / plane.classes.length : 0;
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      const value = surface[(side - 1 - row) * side + column]; // the grid begins at the bottom, a picture at the top
      const ink = isClass ? inks[Math.floor(value / 100)] : inks[value < 50 ? 0 : 1];
      const share = isClass ? 0.08 + (0.55 * ((value % 100) - least)) / (100 - least) : (0.7 * Math.abs(value - 50)) / 50;
      for (let c = 0; c < 3; c++) pixels.data[4 * (row * side + column) + c] = paper[c] + (ink[c] - paper[c]) * Math.max(0, share);
      pixels.data[4 * (row * side + column) + 3] = 255;
    }
  }
  inside.putImageData(pixels, 0, 0);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, width, height);
  const [left, right, bottom, top] = plane.bounds;
  context.lineWidth = 1;
  context.strokeStyle = colour("card");
  for (const [a, b, said] of plane.points) {
    const deviation = Math.max(-1, Math.min(1, said / 2));
    context.fillStyle = isClass ? classColour(said) : colour(deviation < 0 ? "accent" : "contrast");
    context.beginPath();
    context.arc(((a - left) / (right - left)) * width, height - ((b - bottom) / (top - bottom)) * height, Math.max(2.2, width / 150), 0, 7);
    context.fill();
    context.stroke();
  }
}

/**
 * A network as columns of nodes, with the weights between them.
 * @param {HTMLCanvasElement} canvas
 * @param {{widths: number[], weights: number[][][], most: number, inputs: string[], outputs: string[]}} network
 */
export function drawNetwork(canvas, network) {
  const { context, width, height } = prepare(canvas);
  if (!width) return;
  const shown = network.widths.map((each) => Math.min(each, network.most));
  const named = [network.inputs, network.outputs].map((names) => names.map((name) => (name.length > 12 ? `${name.slice(0, 11)}…` : name)));
  const [before, after] = named.map((names) => 14 + Math.max(0, ...names.map((name) => context.measureText(name).width)));
  const x = (/** @type {number} */ layer) => before + 8 + ((width - before - after - 16) * layer) / Math.max(1, shown.length - 1);
  const y = (/** @type {number} */ layer, /** @type {number} */ node) => 20 + (height - 60) * ((node + 0.5) / shown[layer]);
  const [up, down] = [colour("contrast"), colour("accent")];
  network.weights.forEach((weights, layer) => {
    const largest = Math.max(1e-6, ...weights.flat().map(Math.abs));
    weights.forEach((row, to) =>
      row.forEach((weight, from) => {
        const share = Math.abs(weight) / largest;
        if (share < 0.03) return;
        context.globalAlpha = 0.08 + 0.8 * share;
        context.strokeStyle = weight > 0 ? up : down;
        context.lineWidth = 0.4 + 2.4 * share;
        context.beginPath();
        context.moveTo(x(layer), y(layer, from));
        context.lineTo(x(layer + 1), y(layer + 1, to));
        context.stroke();
      }),
    );
  });
  context.globalAlpha = 1;
  context.textAlign = "center";
  shown.forEach((nodes, layer) => {
    for (let node = 0; node < nodes; node++) {
      context.beginPath();
      context.arc(x(layer), y(layer, node), Math.min(7, ((height - 60) / nodes) * 0.35), 0, 7);
      context.fillStyle = colour("card");
      context.strokeStyle = colour("soft");
      context.lineWidth = 1.5;
      context.fill();
      context.stroke();
    }
    context.fillStyle = colour("soft");
    context.fillText(String(network.widths[layer]), x(layer), height - 12);
  });
  context.textBaseline = "middle";
  context.textAlign = "right";
  named[0].forEach((name, node) => context.fillText(name, x(0) - 12, y(0, node)));
  context.textAlign = "left";
  named[1].forEach((name, node) => context.fillText(name, x(shown.length - 1) + 12, y(shown.length - 1, node)));
}

/** A histogram's bars. @param {number[]} bars @param {string} label */
export function sparkline(bars, label) {
  const most = Math.max(1, ...bars);
  const rects = bars.map((bar, i) => svg("rect", { x: i * 6, y: 32 - (30 * bar) / most, width: 5, height: (30 * bar) / most }));
  return svg("svg", { viewBox: `0 0 ${bars.length * 6} 32`, class: "spark", role: "img", "aria-label": label, preserveAspectRatio: "none" }, ...rects);
}

/** A square with axes; draw(x, y) places what is in it. @param {string} label @param {number[]} range @param {string} across @param {string} up @param {(number|string)[]} texts */
function square(label, range, across, up, texts) {
  const [low, high] = range;
  const x = (/** @type {number} */ value) => 46 + (250 * (value - low)) / (high - low || 1);
  const y = (/** @type {number} */ value) => 264 - (250 * (value - low)) / (high - low || 1);
  const picture = svg(
    "svg",
    { viewBox: "0 0 310 304", role: "img", "aria-label": label },
    svg("path", { class: "axis", d: "M46 14V264H296", fill: "none" }),
    svg("line", { class: "ideal", x1: x(low), y1: y(low), x2: x(high), y2: y(high) }),
    svg("text", { x: 171, y: 298, "text-anchor": "middle" }, across),
    svg("text", { x: 14, y: 139, "text-anchor": "middle", transform: "rotate(-90 14 139)" }, up),
    svg("text", { x: 46, y: 280, "text-anchor": "middle" }, texts[0]),
    svg("text", { x: 296, y: 280, "text-anchor": "end" }, texts[1]),
    svg("text", { x: 40, y: 22, "text-anchor": "end" }, texts[1]),
  );
  return { picture, x, y };
}

/** @param {number[][]} bins [said, came true, rows] @param {string} what */
export function calibration(bins, what) {
  const words = `Calibration: ${bins.map(([said, true_]) => `said ${percent(said)}, came true ${percent(true_)}`).join("; ")}`;
  const { picture, x, y } = square(words, [0, 1], what, "share that came true", ["0 %", "100 %"]);
  picture.append(svg("polyline", { class: "curve", points: bins.map(([said, true_]) => `${x(said)},${y(true_)}`).join(" ") }));
  for (const [said, true_] of bins) picture.append(svg("circle", { class: "mark", cx: x(said), cy: y(true_), r: 3.5 }));
  return picture;
}

/** @param {number[][]} points [true, predicted] */
export function scatter(points) {
  const all = points.flat();
  const range = [all.reduce((a, b) => Math.min(a, b), Infinity), all.reduce((a, b) => Math.max(a, b), -Infinity)];
  const { picture, x, y } = square("Predicted against true values", range, "true", "predicted", range.map(number));
  for (const [is, said] of points) picture.append(svg("circle", { class: "mark", cx: x(is).toFixed(1), cy: y(said).toFixed(1), r: 1.8, opacity: 0.5 }));
  return picture;
}

/** @param {number[]} bars @param {number} low @param {number} high */
export function errorBars(bars, low, high) {
  const most = Math.max(1, ...bars);
  const step = 270 / bars.length;
  const picture = svg("svg", { viewBox: "0 0 310 304", role: "img", "aria-label": `Errors from ${number(low)} to ${number(high)}` });
  bars.forEach((bar, i) => picture.append(svg("rect", { class: "fill", x: 20 + i * step, y: 264 - (240 * bar) / most, width: step - 1, height: (240 * bar) / most })));
  picture.append(svg("path", { class: "axis", d: "M20 264H290" }));
  if (low < 0 && high > 0) picture.append(svg("line", { class: "ideal", x1: 20 + (270 * -low) / (high - low), x2: 20 + (270 * -low) / (high - low), y1: 14, y2: 264 }));
  picture.append(svg("text", { x: 20, y: 280 }, number(low)), svg("text", { x: 290, y: 280, "text-anchor": "end" }, number(high)));
  picture.append(svg("text", { x: 155, y: 298, "text-anchor": "middle" }, "predicted – true"));
  return picture;
}
