"use strict";
const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const frames = data.types.length, playable = data.shown.length;
const video = $("video"), picture = $("picture"), stage = $("stage"), lanes = $("lanes"), divider = $("divider");
const context = picture.getContext("2d");
const [wide, tall] = data.player;
const state = { frame: 0, under: null, divide: 0.5, opacity: data.opacity, from: 0, to: frames, chosen: null };

// --- the video: pieces of base64, put together ---

function decoded(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const signs = atob(text), bytes = new Uint8Array(signs.length);
  for (let i = 0; i < signs.length; i++) bytes[i] = signs.charCodeAt(i);
  return bytes;
}
const pieces = [...document.querySelectorAll("script.piece")].map((element) => {
  const bytes = decoded(element.textContent);
  element.remove();
  return bytes;
});
video.src = URL.createObjectURL(new Blob(pieces, { type: "video/mp4" }));

// --- words ---

const clock = (seconds) => {
  const s = Math.max(0, seconds), m = Math.floor(s / 60), h = Math.floor(m / 60);
  const rest = (s % 60).toFixed(frames > 1 && data.rate > 2 ? 2 : 0).padStart(data.rate > 2 ? 5 : 2, "0");
  return h ? `${h}:${String(m % 60).padStart(2, "0")}:${rest}` : `${m}:${rest}`;
};
const timeOf = (i) => (i < playable ? data.shown[i] : data.shown[playable - 1] + (i - playable + 1) / data.rate);
const isKey = (i) => data.keyframes[i] === "1";
const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
const shareOf = (k, i) => (data.shares[k].length ? data.shares[k][i] / 10000 : 0);
const known = (values) => values.filter((value) => value !== null);
function middle(values) {
  const sorted = known(values).sort((a, b) => a - b);
  return sorted.length ? sorted[sorted.length >> 1] : null;
}
const ms = (value) => (value === null ? "–" : value >= 1000 ? `${(value / 1000).toFixed(1)} s` : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`);

{
  const keys = [...data.keyframes].filter((sign) => sign === "1").length, usual = middle(data.network_ms);
  const length = timeOf(frames - 1) + 1 / data.rate;
  const facts = [`${frames} ${frames === 1 ? "frame" : "frames"}`, clock(length), `${data.width}×${data.height}`, `${+data.rate.toFixed(2)} fps`];
  facts.push(`${keys} ${keys === 1 ? "keyframe" : "keyframes"} (${percent(keys / frames)})`);
  if (usual !== null) facts.push(`network ${ms(usual)} a frame, median`);
  $("facts").textContent = facts.join("  ·  ");
  $("made").textContent = `Made by arseg ${data.version}. Nothing on this page comes from a network.`;
}

// --- the picture: left of the divider as it is, right of it under the colours ---

picture.width = wide;
picture.height = tall;
picture.style.aspectRatio = `${wide} / ${tall}`;

function draw() {
  const x = Math.round(state.divide * wide);
  context.globalAlpha = 1;
  context.drawImage(video, 0, 0, wide, tall, 0, 0, wide, tall);
  if (x < wide) {
    context.globalAlpha = state.opacity;
    context.drawImage(video, x, tall, wide - x, tall, x, 0, wide - x, tall);
  }
}

function place() {  // of what lies over the picture, which may be narrower than its stage
  const box = picture.getBoundingClientRect(), scale = Math.min(box.width / wide, box.height / tall);
  const width = wide * scale, around = stage.getBoundingClientRect();
  return { left: box.left - around.left + (box.width - width) / 2, width };
}

function setDivide(share) {
  state.divide = Math.min(1, Math.max(0, share));
  const { left, width } = place();
  divider.style.left = `${left + state.divide * width}px`;
  stage.style.setProperty("--left", `${left + 12}px`);
  const now = Math.round(100 * state.divide);
  divider.setAttribute("aria-valuenow", now);
  divider.setAttribute("aria-valuetext", `picture ${now} %, labels ${100 - now} %`);
  stage.querySelector(".left").style.opacity = state.divide * width > 110 ? 1 : 0;
  stage.querySelector(".right").style.opacity = (1 - state.divide) * width > 110 ? 1 : 0;
  draw();
}

divider.addEventListener("pointerdown", (event) => { divider.setPointerCapture(event.pointerId); event.preventDefault(); divider.focus({ preventScroll: true }); });
divider.addEventListener("pointermove", (event) => {
  if (!divider.hasPointerCapture(event.pointerId)) return;
  const { left, width } = place();
  setDivide((event.clientX - stage.getBoundingClientRect().left - left) / width);
});
divider.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -0.02, ArrowRight: 0.02, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 }[event.key];
  if (step === undefined) return;
  setDivide(state.divide + step);
  event.preventDefault();
  event.stopPropagation();
});
$("opacity").value = Math.round(100 * state.opacity);
$("opacity").addEventListener("input", (event) => { state.opacity = event.target.value / 100; draw(); });
$("speed").addEventListener("change", (event) => { video.playbackRate = +event.target.value; });

// --- going to a frame, and following the video ---

function nearest(time) {  // the last frame that is shown at `time`
  let low = 0, high = playable - 1;
  while (low < high) {
    const half = (low + high + 1) >> 1;
    if (data.shown[half] <= time + 1e-3) low = half; else high = half - 1;
  }
  return low;
}

let wanted = null;
function seek(frame) {
  const i = Math.min(frames - 1, Math.max(0, Math.round(frame)));
  wanted = i < playable ? i : null;
  if (i >= playable) video.pause();
  else if (!video.seeking) go();
  show(i);
}
function go() {
  if (wanted === null) return;
  const until = wanted + 1 < playable ? data.shown[wanted + 1] : data.shown[wanted] + 1 / data.rate;
  video.currentTime = (data.shown[wanted] + Math.min(until, data.shown[wanted] + 0.2)) / 2;
}
video.addEventListener("seeked", () => {
  if (wanted !== null && nearest(video.currentTime) !== wanted) return go();
  wanted = null;
  draw();
});
video.addEventListener("loadeddata", () => { setDivide(state.divide); show(state.frame); });
video.addEventListener("ended", () => { if (playable === frames) show(playable - 1); });
video.addEventListener("error", () => { $("missing").textContent = "This browser cannot play H.264 video; open the page in another."; $("missing").hidden = false; });
for (const name of ["play", "pause", "ended"]) video.addEventListener(name, () => {
  const playing = !video.paused && !video.ended;
  $("player").classList.toggle("playing", playing);
  $("play").setAttribute("aria-label", playing ? "Pause" : "Play");
});
function follow(time) {
  draw();
  if (wanted === null && state.frame < playable) show(nearest(time));
}
if (video.requestVideoFrameCallback) {
  const each = (now, frame) => { follow(frame.mediaTime); video.requestVideoFrameCallback(each); };
  video.requestVideoFrameCallback(each);
} else video.addEventListener("timeupdate", () => follow(video.currentTime));

function play() {
  if (!video.paused && !video.ended) return video.pause();
  if (state.frame >= playable - 1) seek(0);
  video.play();
}
const step = (count) => { video.pause(); seek(state.frame + count); };
function key(direction) {
  let i = state.frame + direction;
  while (i > 0 && i < frames - 1 && !isKey(i)) i += direction;
  video.pause();
  seek(i);
}

// --- classes ---

const means = data.shares.map((values) => values.reduce((sum, value) => sum + value, 0) / (10000 * frames));
const order = means.map((_, k) => k).filter((k) => means[k] > 0).sort((a, b) => means[b] - means[a]);
const css = (k) => `rgb(${data.classes[k].colour.join(" ")})`;
const rows = order.map((k) => {
  const item = document.createElement("li"), button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-pressed", "false");
  button.title = `Only ${data.classes[k].name} in the timeline`;
  button.innerHTML = '<i></i><span class="name"></span><b></b><span class="bar"><span></span></span>';
  button.querySelector(".name").textContent = data.classes[k].name;
  button.querySelector("i").style.background = css(k);
  button.style.setProperty("--colour", css(k));
  button.addEventListener("click", () => choose(state.chosen === k ? null : k));
  item.append(button);
  $("legend").append(item);
  return { k, button, number: button.querySelector("b"), bar: button.querySelector(".bar span") };
});
{
  const unseen = data.classes.filter((_, k) => !(means[k] > 0)).map((one) => one.name);
  $("unseen").textContent = unseen.length ? `Not seen: ${unseen.slice(0, 12).join(", ")}${unseen.length > 12 ? `, and ${unseen.length - 12} more` : ""}` : "";
}
function choose(k) {
  state.chosen = k;
  $("legend").classList.toggle("chosen", k !== null);
  for (const row of rows) row.button.setAttribute("aria-pressed", String(row.k === k));
  paint();
}

// --- the timeline ---

const colours = {};
function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["accent", "mid", "low", "warm", "line", "faint", "soft", "card"]) colours[name] = style.getPropertyValue(`--${name}`).trim();
}
const highest = (values, part) => {
  const sorted = known(values).sort((a, b) => a - b);
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] : 0;
};
const total = (i) => (data.network_ms[i] ?? 0) + (data.decode_ms[i] ?? 0) + (data.write_ms[i] ?? 0);
const topTime = 1.1 * highest(data.types.split("").map((_, i) => total(i)), 0.99) || 1;
const topError = 1.1 * highest(data.warp_error, 0.995) || 1;
const mean = (of, a, b) => { let sum = 0; for (let i = a; i < b; i++) sum += of(i); return sum / (b - a); };
const peak = (of, a, b) => { let top = null; for (let i = a; i < b; i++) { const value = of(i); if (value !== null && (top === null || value > top)) top = value; } return top; };

const LANES = [
  { name: "Frame", tall: 26, value: (i) => (isKey(i) ? `keyframe · ${data.types[i]}` : `${data.types[i]} · keyframe + ${data.distance[i]}`),
    bar: (g, x, w, h, a, b) => {
      let best = 0;
      for (let i = a; i < b; i++) best = Math.max(best, isKey(i) ? 3 : data.types[i] === "B" ? 1 : 2);
      const part = [0, 0.4, 0.62, 1][best];
      g.fillStyle = ["", colours.low, colours.mid, colours.accent][best];
      g.fillRect(x, h * (1 - part), w, h * part);
    } },
  { name: "Time a frame", tall: 44, top: () => ms(topTime), value: (i) => ms(total(i)),
    bar: (g, x, w, h, a, b) => {
      let at = a;
      for (let i = a; i < b; i++) if (total(i) > total(at)) at = i;
      let y = h;
      for (const [stage, tint] of [["network_ms", "accent"], ["decode_ms", "mid"], ["write_ms", "low"]]) {
        const part = Math.min(y, (h * (data[stage][at] ?? 0)) / topTime);
        g.fillStyle = colours[tint];
        g.fillRect(x, y - part, w, part);
        y -= part;
      }
    } },
  { name: "Without vectors", tall: 34, top: () => "100 %", value: (i) => percent(data.intra[i] ?? 0),
    bar: (g, x, w, h, a, b) => {
      const share = mean((i) => data.intra[i] ?? 0, a, b);
      g.fillStyle = colours.mid;
      g.fillRect(x, h * (1 - share), w, h * share);
    } },
  { name: "Warp error", tall: 44, top: () => topError.toFixed(1), value: (i) => (data.warp_error[i] === null ? "–" : data.warp_error[i].toFixed(2)),
    bar: (g, x, w, h, a, b) => {
      const value = peak((i) => data.warp_error[i], a, b);
      if (value === null) return;
      const part = Math.min(1, value / topError);
      g.fillStyle = colours.warm;
      g.fillRect(x, h * (1 - part), w, h * part);
    } },
  { name: "Classes", tall: 132, solid: true, top: () => "100 %", value: (i) => (state.chosen === null ? " " : `${percent(shareOf(state.chosen, i))} ${data.classes[state.chosen].name}`),
    bar: (g, x, w, h, a, b) => {
      let y = h;
      for (const k of order) {
        const part = h * mean((i) => shareOf(k, i), a, b);
        g.globalAlpha = state.chosen === null || state.chosen === k ? 1 : 0.16;
        g.fillStyle = css(k);
        g.fillRect(x, y - part, w, part + 0.5);
        y -= part;
      }
      g.globalAlpha = 1;
    } },
].map((lane) => {
  const row = document.createElement("div"), head = document.createElement("div");
  row.className = "lane";
  head.innerHTML = "<span></span><b></b>";
  head.querySelector("span").textContent = lane.name;
  const canvas = document.createElement("canvas");
  canvas.style.setProperty("--tall", `${lane.tall}px`);
  row.append(head, canvas);
  lanes.append(row);
  return { ...lane, canvas, words: head.querySelector("b") };
});
const axis = document.createElement("canvas");
{
  const row = document.createElement("div");
  row.className = "lane axis";
  axis.style.setProperty("--tall", "22px");
  row.append(document.createElement("div"), axis);
  lanes.append(row);
}
const [at, under] = ["at", "under"].map((name) => {
  const line = document.createElement("div");
  line.className = `line ${name}`;
  line.hidden = name === "under";
  lanes.append(line);
  return line;
});
lanes.setAttribute("aria-valuemax", frames - 1);
$("key").innerHTML = [["Frame", "keyframe", "P", "B"], ["Time", "network", "decoding", "writing"]].map(([lane, ...words]) =>
  `<span><b>${lane}</b>${words.map((word, i) => `<i style="background:var(--${["accent", "mid", "low"][i]})"></i>${word}`).join("")}</span>`).join("");

function fit(canvas) {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const g = canvas.getContext("2d");
  g.scale(ratio, ratio);
  return [g, width, height];
}

function paint() {
  const count = state.to - state.from, ratio = window.devicePixelRatio || 1;
  for (const lane of LANES) {
    const [g, width, height] = fit(lane.canvas);
    const bins = Math.min(count, Math.floor(width)), each = width / bins, gap = each > 5 && !lane.solid ? 1 : 0;
    for (let bin = 0; bin < bins; bin++) {
      const a = state.from + Math.floor((bin * count) / bins), b = Math.max(a + 1, state.from + Math.floor(((bin + 1) * count) / bins));
      const left = Math.round(bin * each * ratio) / ratio, right = Math.round((bin + 1) * each * ratio) / ratio;
      lane.bar(g, left, right - left - gap, height, a, b);
    }
    if (lane.top) {
      const words = lane.top();
      g.font = "11px system-ui, sans-serif";
      g.textBaseline = "top";
      g.fillStyle = colours.line;
      g.fillRect(0, 0, width, 1);
      if (!lane.solid) {
        g.fillStyle = colours.card;
        g.globalAlpha = 0.8;
        g.fillRect(0, 1, g.measureText(words).width + 8, 15);
        g.globalAlpha = 1;
        g.fillStyle = colours.soft;
        g.fillText(words, 4, 3);
      }
    }
  }
  const [g, width] = fit(axis);
  g.font = "11px system-ui, sans-serif";
  g.fillStyle = colours.faint;
  const marks = Math.max(1, Math.min(count - 1, Math.floor(width / 90)));
  for (let mark = 0; mark <= marks; mark++) {
    const i = Math.round(state.from + ((count - 1) * mark) / marks), x = ((i - state.from + 0.5) / count) * width;
    g.textAlign = mark === 0 ? "left" : mark === marks ? "right" : "center";
    g.fillRect(Math.min(width - 1, x), 0, 1, 4);
    g.fillText(clock(timeOf(i)), mark === 0 ? 0 : mark === marks ? width : x, 16);
  }
  lines();
}

function lines() {
  const canvas = LANES[0].canvas, left = canvas.offsetLeft, width = canvas.clientWidth, count = state.to - state.from;
  for (const [line, i] of [[at, state.frame], [under, state.under]]) {
    line.hidden = i === null || i < state.from || i >= state.to;
    if (!line.hidden) line.style.left = `${left + ((i - state.from + 0.5) / count) * width}px`;
  }
  const i = state.under ?? state.frame;
  for (const lane of LANES) lane.words.textContent = lane.value(i);
}

function show(i) {
  state.frame = i;
  const count = state.to - state.from;
  if (count < frames && (i < state.from || i >= state.to)) return window_(i - Math.floor(count / 8), count);
  $("missing").hidden = i < playable && !video.error;
  $("place").innerHTML = `<b>${clock(timeOf(i))}</b> · <span>frame </span>${i + 1} / ${frames}`;
  lanes.setAttribute("aria-valuenow", i);
  lanes.setAttribute("aria-valuetext", `frame ${i + 1} of ${frames}, ${clock(timeOf(i))}${isKey(i) ? ", keyframe" : ""}`);
  for (const row of rows) {
    const share = shareOf(row.k, i);
    row.number.textContent = percent(share);
    row.bar.style.width = `${100 * share}%`;
  }
  lines();
}

function window_(from, count) {
  const length = Math.min(frames, Math.max(Math.min(frames, 12), Math.round(count)));
  state.from = Math.min(frames - length, Math.max(0, Math.round(from)));
  state.to = state.from + length;
  paint();
  show(state.frame);
}
function zoom(factor, middle = state.frame) {
  const count = Math.min(frames, Math.max(Math.min(frames, 12), (state.to - state.from) * factor));
  const part = (middle - state.from) / (state.to - state.from);
  window_(middle - (part >= 0 && part <= 1 ? part : 0.5) * count, count);
}

function frameAt(event) {
  const box = LANES[0].canvas.getBoundingClientRect(), part = (event.clientX - box.left) / box.width;
  return Math.min(state.to - 1, Math.max(state.from, state.from + Math.floor(part * (state.to - state.from))));
}
lanes.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  lanes.setPointerCapture(event.pointerId);
  video.pause();
  seek(frameAt(event));
});
lanes.addEventListener("pointermove", (event) => {
  if (lanes.hasPointerCapture(event.pointerId)) seek(frameAt(event));
  state.under = event.pointerType === "mouse" && !lanes.hasPointerCapture(event.pointerId) ? frameAt(event) : null;
  lines();
});
lanes.addEventListener("pointerleave", () => { state.under = null; lines(); });
lanes.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && Math.abs(event.deltaX) <= Math.abs(event.deltaY)) return;
  event.preventDefault();
  if (event.ctrlKey) zoom(Math.exp(event.deltaY / 200), frameAt(event));
  else window_(state.from + (event.deltaX / 600) * (state.to - state.from), state.to - state.from);
}, { passive: false });

// --- buttons and keys ---

for (const [id, act] of [["play", play], ["less", () => step(-1)], ["more", () => step(1)], ["back", () => key(-1)], ["next", () => key(1)],
  ["in", () => zoom(0.5)], ["out", () => zoom(2)], ["whole", () => window_(0, frames)]]) $(id).addEventListener("click", act);
picture.addEventListener("click", play);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select")) return;
  const second = Math.max(1, Math.round(data.rate));
  const acts = {
    " ": play, k: play, ArrowLeft: () => step(event.shiftKey ? -second : -1), ArrowRight: () => step(event.shiftKey ? second : 1),
    "[": () => key(-1), "]": () => key(1), Home: () => step(-frames), End: () => step(frames), "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: () => window_(0, frames),
  };
  if (event.key === " " && event.target.closest("button")) return;
  if (!acts[event.key]) return;
  acts[event.key]();
  event.preventDefault();
});
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); paint(); });
new ResizeObserver(() => { setDivide(state.divide); paint(); }).observe(document.body);
readColours();
paint();
show(0);
