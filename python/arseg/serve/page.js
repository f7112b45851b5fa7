"use strict";
const $ = (id) => document.getElementById(id);
const limits = JSON.parse($("limited").textContent);
const drop = $("drop"), file = $("file"), fault = $("fault");
const WORDS = { sending: "sending", fetching: "fetching", waiting: "waiting for its turn", running: "segmenting", done: "done", failed: "failed", cancelled: "cancelled" };
const size = (bytes) => (bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`);
$("limits").textContent = `MP4, MOV, Matroska, WebM, AVI or MPEG, up to ${limits.upload_mb} MB and ${+(limits.seconds / 60).toFixed(1)} minutes`;

function complain(words) {
  fault.textContent = words;
  fault.hidden = !words;
}

function card(name) {
  const item = $("job").content.firstElementChild.cloneNode(true);
  const part = (selector) => item.querySelector(selector);
  part(".name").textContent = name;
  part(".name").title = name;
  part(".bar").setAttribute("aria-label", `Progress of ${name}`);
  $("jobs").prepend(item);
  const view = {
    item,
    set(state, words, share) {
      item.className = state;
      part(".state").textContent = WORDS[state];
      part(".words").textContent = words;
      part(".end").textContent = ["done", "failed", "cancelled"].includes(state) ? "Remove" : "Cancel";
      part(".end").setAttribute("aria-label", `${part(".end").textContent} ${name}`);
      const percent = Math.round(100 * Math.min(1, share ?? 0));
      part(".bar").setAttribute("aria-valuenow", percent);
      part(".bar span").style.width = `${percent}%`;
    },
    onEnd(act) { part(".end").onclick = act; },
    results(all) {
      const list = part(".made ul"), video = part("video");
      if (all.overlay) video.src = all.overlay.url; else video.remove();
      for (const [kind, one] of Object.entries(all)) {
        const entry = document.createElement("li"), link = document.createElement("a"), bytes = document.createElement("small");
        link.href = one.url;
        link.textContent = kind === "report" ? "Open the report" : one.what;
        if (kind === "report") { link.className = "first"; link.target = "_blank"; link.rel = "noopener"; list.prepend(entry); }
        else { link.download = ""; list.append(entry); }
        bytes.textContent = size(one.bytes);
        link.append(bytes);
        entry.append(link);
      }
      part(".made").hidden = false;
    },
  };
  return view;
}

function words(job) {
  const speed = job.seconds > 0 ? job.frames / job.seconds : 0;
  const all = job.total ? `${job.frames} of ${job.total} frames` : `${job.frames} frames`;
  const facts = [job.frames ? all : "", job.width ? `${job.width}×${job.height}` : "", speed ? `${speed.toFixed(1)} frames/s` : ""];
  const left = speed && job.total && job.state === "running" ? (job.total - job.frames) / speed : 0;
  if (left >= 1) facts.push(`${Math.round(left)} s left`);
  return facts.filter(Boolean).join(" · ");
}

function follow(job, view) {
  const events = new EventSource(job.events), path = `/jobs/${job.id}`;
  let over = false;
  view.onEnd(async () => {
    await fetch(path, { method: "DELETE" });
    if (over) { events.close(); view.item.remove(); }
  });
  const show = (event) => {
    job = JSON.parse(event.data);
    over = ["done", "failed", "cancelled"].includes(job.state);
    view.set(job.state, job.error ?? words(job), job.total ? job.frames / job.total : 0);
    if (!over) return;
    events.close();
    if (job.state === "done") view.results(job.results);
  };
  for (const name of ["progress", "done", "failed", "cancelled"]) events.addEventListener(name, show);
  events.onerror = () => {
    if (events.readyState === EventSource.CLOSED && !over) view.set("failed", "The connection to the server was lost.");
  };
}

function send(body, name) {
  complain("");
  const view = card(name), request = new XMLHttpRequest();
  view.set("sending", "", 0);
  view.onEnd(() => { request.abort(); view.item.remove(); });
  request.open("POST", "jobs");
  if (typeof body === "string") request.setRequestHeader("Content-Type", "application/json");
  request.upload.onprogress = (event) => {
    if (event.lengthComputable) view.set("sending", `${size(event.loaded)} of ${size(event.total)}`, event.loaded / event.total);
  };
  const fail = (sentence) => { view.item.remove(); complain(`${name}: ${sentence}`); };
  request.onload = () => {
    let answer = {};
    try { answer = JSON.parse(request.responseText); } catch { /* said below */ }
    if (request.status === 202) follow(answer, view); else fail(answer.error ?? `the server answered ${request.status}`);
  };
  request.onerror = () => fail("the server cannot be reached, or closed the connection");
  request.send(body);
}

function sendFiles(files) {
  for (const one of files) {
    if (one.size > limits.upload_mb * 1e6) { complain(`${one.name}: larger than ${limits.upload_mb} MB`); continue; }
    const form = new FormData();
    form.append("video", one);
    send(form, one.name);
  }
}

file.addEventListener("change", () => { sendFiles(file.files); file.value = ""; });
let depth = 0;
document.addEventListener("dragenter", () => { depth++; drop.classList.add("over"); });
document.addEventListener("dragleave", () => { if (--depth <= 0) { depth = 0; drop.classList.remove("over"); } });
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  drop.classList.remove("over");
  if (event.dataTransfer.files.length) sendFiles(event.dataTransfer.files);
});
$("from").addEventListener("submit", (event) => {
  event.preventDefault();
  const url = $("url").value.trim();
  send(JSON.stringify({ url }), url.split(/[?#]/)[0].split("/").pop() || url);
  $("url").value = "";
});
