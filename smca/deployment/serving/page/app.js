// The page: pictures go to the server once, with every object it finds; threshold and classes only choose what is shown.

import { facts, predict, explain } from "./server.js";
import { Stage, drawn } from "./stage.js";
import { Look } from "./look.js";

const AT_ONCE = 2; // uploads
const $ = (id) => document.getElementById(id);
const state = { pictures: [], current: null, threshold: 0.5, hidden: new Set(), model: null, uploading: 0, open: null };
const colours = new Map();
const colourOf = (label) => colours.get(label) || "#8ea8ff";
const stage = new Stage(openObject, point);
let look = null;

function element(tag, attributes, ...children) {
  const one = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) one.setAttribute(name, value);
  one.append(...children); // strings become text, never markup
  return one;
}

function complain(text) {
  $("alert").textContent = text;
  clearTimeout(complain.timer);
  if (text) complain.timer = setTimeout(() => complain(""), 8000);
}

// Pictures: adding, sending, choosing

function add(files) {
  if (!look) return complain("Please wait: the server has not answered yet.");
  const fresh = [...files].map((file) => ({
    file, name: file.name || "pasted.png", url: URL.createObjectURL(file), result: null, error: null,
  }));
  if (!fresh.length) return;
  state.pictures.push(...fresh);
  document.body.classList.add("busy");
  if (!state.current) choose(fresh[0]);
  drawStrip();
  send();
}

async function send() {
  const next = state.pictures.find((picture) => !picture.result && !picture.error && !picture.sent);
  if (!next || state.uploading >= AT_ONCE) return;
  next.sent = true;
  state.uploading += 1;
  send();
  try {
    next.result = await predict(next.file);
  } catch (error) {
    next.error = error.message;
  }
  state.uploading -= 1;
  drawStrip();
  if (next === state.current) choose(next);
  send();
}

function choose(picture) {
  state.current = picture;
  look.close();
  $("work").hidden = false;
  $("stage").hidden = !picture.result;
  $("side").hidden = !picture.result;
  if (picture.result) {
    stage.show(picture, colourOf);
    drawObjects();
  } else {
    stage.note(picture.error || `Looking for objects in ${picture.name}`, Boolean(picture.error));
  }
  drawStrip();
}

function drawStrip() {
  $("pictures").hidden = !state.pictures.length;
  const focused = [...$("strip").querySelectorAll("button")].indexOf(document.activeElement);
  $("strip").replaceChildren(...state.pictures.map((picture) => {
    const found = picture.result && shownOf(picture).filter(Boolean).length;
    const sign = picture.error ? "!" : picture.result ? String(found) : "…";
    const said = picture.error ? "failed" : picture.result ? `${found} objects` : "waiting";
    const button = element("button", { type: "button", "aria-label": `${picture.name}, ${said}`, title: picture.name },
      thumbnail(picture), element("span", picture.result || picture.error ? {} : { class: "busy-dot" }, sign));
    button.classList.toggle("failed", Boolean(picture.error));
    button.setAttribute("aria-current", String(picture === state.current));
    button.onclick = () => choose(picture);
    return element("li", {}, button);
  }));
  $("strip").querySelectorAll("button")[focused]?.focus();
}

// The picture, or its format where the browser cannot show it.
function thumbnail(picture) {
  const image = element("img", { src: picture.url, alt: "" });
  image.onerror = () => image.replaceWith(picture.name.split(".").pop().slice(0, 6));
  return image;
}

// What is shown of a picture

function shownOf(picture) {
  return picture.result.detections.map((one) => one.score >= state.threshold && !state.hidden.has(one.label));
}

function drawObjects() {
  const { detections } = state.current.result;
  $("objects").replaceChildren(...detections.map((one, i) => {
    const dot = element("span", { class: "dot" });
    dot.style.setProperty("--colour", colourOf(one.label));
    const button = element("button", { type: "button", "aria-label": `${one.label}, score ${one.score.toFixed(2)}` },
      dot, element("b", {}, one.label), element("i", {}, one.score.toFixed(2)));
    button.onclick = () => openObject(i);
    button.onfocus = button.onmouseenter = () => point(i);
    button.onblur = button.onmouseleave = () => point(null);
    return element("li", {}, button);
  }));
  filter();
}

function filter() {
  $("threshold-value").textContent = state.threshold.toFixed(2);
  if (!state.current?.result) return;
  const shown = shownOf(state.current);
  stage.filter(shown);
  [...$("objects").children].forEach((item, i) => { item.hidden = !shown[i]; });
  const found = shown.filter(Boolean).length;
  $("count").textContent = found ? `${found} ${found === 1 ? "object" : "objects"}` : nothing(state.current.result.detections);
  drawClasses();
}

function nothing(detections) {
  const best = detections.length ? detections[0].score.toFixed(2) : null;
  return best === null ? "Nothing found." : `Nothing at this score. The best there is has ${best}.`;
}

function drawClasses() {
  const counts = new Map();
  for (const { label, score } of state.current.result.detections) {
    if (score >= state.threshold) counts.set(label, (counts.get(label) || 0) + 1);
  }
  const focused = document.activeElement?.dataset?.label;
  const order = state.model.classes.map((one) => one.name).filter((name) => counts.has(name) || state.hidden.has(name));
  $("classes").replaceChildren(...order.map((name) => {
    const dot = element("span", { class: "dot" });
    dot.style.setProperty("--colour", colourOf(name));
    const button = element("button", { type: "button", "aria-pressed": String(!state.hidden.has(name)), "data-label": name },
      dot, `${name} ${counts.get(name) || 0}`);
    button.onclick = () => {
      if (!state.hidden.delete(name)) state.hidden.add(name);
      filter();
      drawStrip();
    };
    return button;
  }));
  if (focused !== undefined) [...$("classes").children].find((one) => one.dataset.label === focused)?.focus();
}

function point(index) {
  stage.light(index);
  [...$("objects").children].forEach((item, i) => item.firstChild.classList.toggle("lit", i === index));
}

// Where an object's query looked

async function openObject(index) {
  const picture = state.current;
  const one = picture.result.detections[index];
  state.open = index;
  stage.open(index);
  markOpen(index);
  const title = `Where the query of ${one.label} ${one.score.toFixed(2)} looked`;
  if (!state.model.explains) {
    look.say(title, "Explanations are not available: this model does not tell where its queries look.");
    return reveal();
  }
  look.say(title, "Asking the model");
  reveal();
  try {
    const answer = await explain(picture.file, one);
    if (state.current === picture && state.open === index) look.show(answer, title, colourOf(one.label));
  } catch (error) {
    if (state.current === picture && state.open === index) look.say(title, error.message);
  }
}

function markOpen(index) {
  [...$("objects").children].forEach((item, i) => {
    item.firstChild.classList.toggle("open", i === index);
    item.firstChild.setAttribute("aria-expanded", String(i === index));
  });
}

function reveal() {
  $("look").scrollTop = 0;
  $("look").focus({ preventScroll: true });
}

function lookClosed() {
  const item = $("objects").children[state.open];
  stage.open(null);
  markOpen(null);
  state.open = null;
  const lost = document.activeElement === document.body || $("look").contains(document.activeElement);
  if (item && !item.hidden && lost) item.firstChild.focus();
}

// Files to keep

function save(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function saveJson() {
  const entries = state.pictures.filter((picture) => picture.result).map((picture) => {
    const shown = shownOf(picture);
    return { ...picture.result, detections: picture.result.detections.filter((_, i) => shown[i]) };
  });
  save(new Blob([JSON.stringify(entries, null, 2)], { type: "application/json" }), "predictions.json");
}

async function savePicture() {
  const picture = state.current;
  save(await drawn(picture, shownOf(picture), colourOf), `${picture.name.replace(/\.[^.]*$/, "")}-objects.png`);
}

function clear() {
  look.close();
  for (const picture of state.pictures) URL.revokeObjectURL(picture.url);
  Object.assign(state, { pictures: [], current: null });
  document.body.classList.remove("busy");
  $("work").hidden = true;
  drawStrip();
  $("files").focus();
}

// What the reader does

function listen() {
  $("files").onchange = (event) => { add(event.target.files); event.target.value = ""; };
  $("threshold").oninput = (event) => { state.threshold = Number(event.target.value); filter(); drawStrip(); };
  $("save-json").onclick = saveJson;
  $("save-picture").onclick = savePicture;
  $("clear").onclick = clear;
  document.addEventListener("paste", (event) => add(event.clipboardData?.files || []));
  document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("over"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    add(event.dataTransfer.files);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") look?.close();
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const rows = [...$("objects").querySelectorAll("li:not([hidden]) button")];
    const at = rows.indexOf(document.activeElement);
    if (at < 0) return;
    event.preventDefault();
    rows[at + (event.key === "ArrowDown" ? 1 : -1)]?.focus();
  });
  window.addEventListener("resize", () => look?.redraw());
}

async function begin() {
  listen();
  try {
    state.model = await facts();
  } catch (error) {
    $("about").textContent = error.message;
    return;
  }
  const { model } = state;
  for (const { name, colour } of model.classes) colours.set(name, colour);
  look = new Look(Uint8Array.from(atob(model.colour_map), (sign) => sign.charCodeAt(0)), stage, lookClosed);
  document.title = `smca, ${model.name}`;
  $("about").textContent = `${model.name}, ${model.classes.length} ${model.classes.length === 1 ? "class" : "classes"}`;
  const { megabytes, pixels } = model.limits;
  $("limits").textContent = `Up to ${megabytes} MB and ${Number((pixels / 1e6).toPrecision(3))} megapixels each. Pictures go to this server and nowhere else.`;
  $("own").append(element("option", { value: model.threshold }));
  state.threshold = model.threshold;
  $("threshold").value = model.threshold;
  filter();
  document.body.dataset.ready = "true";
}

begin();
