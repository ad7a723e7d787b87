// The picture with its boxes: HTML over an image, all in per cent of the picture, so that every size fits.

const LONGEST = 4; // an image longer than this times its other side is drawn shorter than it is
const MANY = 30; // above so many boxes only the one pointed at says its name

const $ = (id) => document.getElementById(id);

export class Stage {
  // chosen(i) and pointed(i or null): a box was clicked, a box is under the pointer
  constructor(chosen, pointed) {
    this.chosen = chosen;
    this.pointed = pointed;
    this.buttons = [];
  }

  show(picture, colourOf) {
    const { width, height, detections } = picture.result;
    const ratio = Math.min(Math.max(width / height, 1 / LONGEST), LONGEST);
    const style = $("stage").style;
    style.setProperty("--w", ratio);
    style.setProperty("--h", 1);
    style.setProperty("--most", `${Math.max(4 * width, 420)}px`);
    const image = $("picture");
    image.alt = picture.name;
    image.hidden = false;
    image.onerror = () => {
      image.hidden = true;
      this.note("The browser cannot show this format; the boxes are where they belong.");
    };
    image.src = picture.url;
    this.note(ratio === width / height ? "" : `${width} x ${height} pixels, not drawn in proportion`);
    this.buttons = detections.map((one, i) => this.box(one, i, width, height, colourOf(one.label)));
    $("boxes").replaceChildren(...this.buttons);
  }

  note(text, failed = false) {
    $("note").textContent = text;
    $("note").classList.toggle("failed", failed);
  }

  box({ label, score, box }, i, width, height, colour) {
    const [left, top, right, bottom] = [box[0] / width, box[1] / height, box[2] / width, box[3] / height];
    const button = document.createElement("button");
    button.type = "button";
    button.tabIndex = -1; // the list is the way of the keyboard
    button.className = `box${top < 0.06 ? " low" : ""}${left > 0.75 ? " right" : ""}`;
    const place = { left, top, width: right - left, height: bottom - top };
    for (const [name, share] of Object.entries(place)) button.style.setProperty(name, `${100 * share}%`);
    button.style.setProperty("--colour", colour);
    button.style.zIndex = Math.round(1000 * (1 - (right - left) * (bottom - top))); // small ones on top
    const tag = document.createElement("span");
    tag.textContent = `${label} ${score.toFixed(2)}`;
    button.append(tag);
    button.onclick = () => this.chosen(i);
    button.onmouseenter = () => this.pointed(i);
    button.onmouseleave = () => this.pointed(null);
    return button;
  }

  // shown: for each box whether it is seen
  filter(shown) {
    this.buttons.forEach((button, i) => { button.hidden = !shown[i]; });
    $("boxes").classList.toggle("many", shown.filter(Boolean).length > MANY);
  }

  light(index) {
    this.buttons.forEach((button, i) => button.classList.toggle("lit", i === index));
  }

  open(index) {
    this.buttons.forEach((button, i) => button.classList.toggle("open", i === index));
    $("boxes").classList.toggle("opened", index !== null);
    if (index === null) this.heat(null);
  }

  // paint(canvas) draws a map over the picture; null takes it away
  heat(paint) {
    const canvas = $("heat");
    canvas.hidden = !paint;
    $("boxes").classList.toggle("heated", Boolean(paint));
    const { clientWidth, clientHeight } = $("stage");
    if (!paint || !clientWidth || !clientHeight) return;
    const scale = Math.min(window.devicePixelRatio || 1, 1600 / clientWidth);
    canvas.width = Math.round(clientWidth * scale);
    canvas.height = Math.round(clientHeight * scale);
    paint(canvas);
  }
}

// The picture with the shown boxes in its own size, as a PNG.
export async function drawn(picture, shown, colourOf) {
  const { width, height, detections } = picture.result;
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const pen = canvas.getContext("2d");
  const image = $("picture");
  if (!image.hidden && image.naturalWidth) pen.drawImage(image, 0, 0, width, height);
  const size = Math.round(9 + Math.hypot(width, height) / 110);
  const line = Math.round(1 + Math.hypot(width, height) / 500);
  pen.font = `${size}px system-ui, sans-serif`;
  pen.textBaseline = "top";
  for (let i = detections.length - 1; i >= 0; i -= 1) {
    if (!shown[i]) continue;
    const { label, score, box } = detections[i];
    const rectangle = [box[0], box[1], box[2] - box[0], box[3] - box[1]];
    pen.lineWidth = line + 2;
    pen.strokeStyle = "#101418";
    pen.strokeRect(...rectangle);
    pen.lineWidth = line;
    pen.strokeStyle = colourOf(label);
    pen.strokeRect(...rectangle);
    const text = `${label} ${score.toFixed(2)}`;
    const y = Math.max(0, box[1] - size * 1.3);
    const x = Math.max(0, Math.min(box[0], width - pen.measureText(text).width - size / 2));
    pen.fillStyle = colourOf(label);
    pen.fillRect(x, y, pen.measureText(text).width + size / 2, size * 1.3);
    pen.fillStyle = "#101418";
    pen.fillText(text, x + size / 4, y + size * 0.15);
  }
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
