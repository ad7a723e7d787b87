// Where the query of one object looked: a tile for each head and kind of map, and the one chosen large on the stage.

const TILE = 224; // pixels of a tile's longer side
const $ = (id) => document.getElementById(id);

export class Look {
  // colours: 256 times red, green, blue; stage: shows a map large; closed(): the panel was closed
  constructor(colours, stage, closed) {
    this.colours = colours;
    this.stage = stage;
    this.closed = closed;
    $("look-close").onclick = () => this.close();
    $("close-up").onchange = () => this.showLevel(this.level);
    const ramp = $("ramp").getContext("2d");
    for (let x = 0; x < 128; x += 1) {
      ramp.fillStyle = `rgb(${this.colours.slice(6 * x, 6 * x + 3).join(" ")})`;
      ramp.fillRect(x, 0, 1, 1);
    }
  }

  get isOpen() {
    return !$("look").hidden;
  }

  say(title, note) {
    $("look").hidden = false;
    $("side").hidden = true;
    $("look-controls").hidden = true;
    $("look-title").textContent = title;
    $("look-note").textContent = note;
    $("levels").replaceChildren();
    $("maps").replaceChildren();
    $("legend").hidden = true;
    this.stage.heat(null);
    this.chosen = null;
  }

  close() {
    if (!this.isOpen) return;
    $("look").hidden = true;
    $("side").hidden = false;
    this.closed();
  }

  show(answer, title, colour) {
    const modulated = answer.levels.some((level) => level.heads.length);
    this.say(title, modulated
      ? "Choose a map to see it large. An outline is one sigma of a head's Gaussian; all of the last decoder layer."
      : "Choose a map to see it large. This model has attention but no Gaussian maps; all of the last decoder layer.");
    $("legend").hidden = $("look-controls").hidden = false;
    $("ramp-end").textContent = modulated ? "1 for a weight map, the highest cell for attention" : "the highest cell";
    this.answer = answer;
    this.colour = colour;
    const [left, top, right, bottom] = answer.box;
    $("close-up").checked = (right - left) * (bottom - top) < 0.12 * answer.width * answer.height;
    const shares = answer.levels.map((level) => level.share ?? 0);
    const most = shares.indexOf(Math.max(...shares));
    $("levels").append(...answer.levels.map((level, i) => this.levelButton(level, i === most)));
    this.showLevel(answer.levels[most]);
  }

  levelButton(level, checked) {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "radio", name: "level", checked });
    input.onchange = () => this.showLevel(level);
    label.append(input, level.name.toUpperCase());
    const note = Object.assign(document.createElement("small"), { textContent: `stride ${level.stride}` });
    label.append(note);
    if (level.share !== null) {
      note.textContent = `weight ${level.share.toFixed(2)}`;
      const bar = Object.assign(document.createElement("span"), { className: "share" });
      bar.append(document.createElement("i"));
      bar.style.setProperty("--share", `${100 * level.share}%`);
      label.append(bar);
      label.title = `Stride ${level.stride}; how much the query listens to this level`;
    }
    return label;
  }

  showLevel(level) {
    this.level = level;
    this.stage.heat(null);
    this.chosen = null;
    const part = $("close-up").checked ? this.neighbourhood() : this.whole();
    const base = dimmed($("picture"), ...this.tileSize(), part, this.answer);
    $("maps").replaceChildren(...level.maps.map((map) => this.group(level, map, base, part)));
  }

  whole() {
    return { left: 0, top: 0, width: this.answer.width, height: this.answer.height };
  }

  // Somewhat more than the box, in the picture's proportions and inside it.
  neighbourhood() {
    const { width, height, box: [left, top, right, bottom] } = this.answer;
    const share = Math.min(1, 1.7 * Math.max((right - left) / width, (bottom - top) / height, 0.02));
    const part = { width: share * width, height: share * height };
    part.left = Math.min(Math.max((left + right - part.width) / 2, 0), width - part.width);
    part.top = Math.min(Math.max((top + bottom - part.height) / 2, 0), height - part.height);
    return part;
  }

  tileSize() {
    const { clientWidth, clientHeight } = $("stage");
    const scale = TILE / Math.max(clientWidth, clientHeight, 1);
    return [Math.max(1, Math.round(clientWidth * scale)), Math.max(1, Math.round(clientHeight * scale))];
  }

  group(level, map, base, part) {
    const group = document.createElement("section");
    const title = document.createElement("h3");
    title.textContent = map.kind;
    const tiles = document.createElement("div");
    tiles.className = "tiles";
    const heads = map.heads.length > 1 ? map.heads.map((_, head) => head) : [];
    tiles.append(...[null, ...heads].map((head) => this.tile(level, map, head, base, part)));
    group.append(title, tiles);
    return group;
  }

  tile(level, map, head, base, part) {
    const button = Object.assign(document.createElement("button"), { type: "button" });
    const name = head === null ? "all heads" : `head ${head + 1}`;
    const canvas = Object.assign(document.createElement("canvas"), { width: base.width, height: base.height });
    this.paint(canvas, base, level, map, head, part);
    button.append(canvas, name);
    button.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-label", `${map.kind}, ${name}, large`);
    button.onclick = () => this.choose(button, level, map, head);
    return button;
  }

  choose(button, level, map, head) {
    const again = this.chosen?.button === button;
    for (const other of $("maps").querySelectorAll("button")) other.setAttribute("aria-pressed", String(!again && other === button));
    this.chosen = again ? null : { button, level, map, head };
    this.redraw();
  }

  redraw() {
    if (!this.isOpen || !this.answer) return;
    const { level, map, head } = this.chosen || {};
    const whole = this.whole();
    const base = (canvas) => dimmed($("picture"), canvas.width, canvas.height, whole, this.answer);
    this.stage.heat(level && ((canvas) => this.paint(canvas, base(canvas), level, map, head, whole)));
  }

  // part: of the picture, in its pixels, that fills the canvas
  paint(canvas, base, level, map, head, part) {
    const pen = canvas.getContext("2d");
    pen.drawImage(base, 0, 0);
    const { box } = this.answer;
    pen.setTransform(canvas.width / part.width, 0, 0, canvas.height / part.height, 0, 0);
    pen.translate(-part.left, -part.top);
    const [cellWidth, cellHeight] = level.cell;
    const start = level.offset - 0.5;
    pen.drawImage(
      heat(head === null ? map.all : map.heads[head], level, this.colours),
      start * cellWidth, start * cellHeight, level.columns * cellWidth, level.rows * cellHeight,
    );
    level.heads.forEach((one, i) => {
      if (head === null || head === i || level.heads.length === 1) line(pen, one.outline, one.colour, canvas.width);
    });
    const [left, top, right, bottom] = box;
    line(pen, [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]], this.colour, canvas.width);
    pen.resetTransform();
  }
}

function line(pen, points, colour, width) {
  const path = new Path2D();
  points.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
  const transform = pen.getTransform();
  const seen = new Path2D();
  seen.addPath(path, transform); // lines as wide as pixels, whatever the picture's size
  pen.resetTransform();
  const thin = Math.max(1, width / 420);
  for (const [style, wide] of [["#101418", thin + 1.2], [colour, thin]]) {
    pen.strokeStyle = style;
    pen.lineWidth = wide;
    pen.stroke(seen);
  }
  pen.setTransform(transform);
}

// A part of the picture in dark grey; `size` is what the server calls its width and height.
function dimmed(image, width, height, part, size) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#7c8594";
  pen.fillRect(0, 0, width, height);
  if (!image.hidden && image.naturalWidth) {
    const [x, y] = [image.naturalWidth / size.width, image.naturalHeight / size.height];
    pen.drawImage(image, part.left * x, part.top * y, part.width * x, part.height * y, 0, 0, width, height);
  }
  pen.globalCompositeOperation = "saturation";
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, width, height);
  pen.globalCompositeOperation = "source-over";
  pen.fillStyle = "rgb(0 0 0 / .45)";
  pen.fillRect(0, 0, width, height);
  return canvas;
}

function heat(packed, { rows, columns }, colours) {
  const strengths = Uint8Array.from(atob(packed), (sign) => sign.charCodeAt(0));
  const canvas = Object.assign(document.createElement("canvas"), { width: columns, height: rows });
  const pen = canvas.getContext("2d");
  const pixels = pen.createImageData(columns, rows);
  strengths.forEach((strength, i) => {
    pixels.data.set(colours.subarray(3 * strength, 3 * strength + 3), 4 * i);
    pixels.data[4 * i + 3] = 0.9 * 255 * Math.sqrt(strength / 255);
  });
  pen.putImageData(pixels, 0, 0);
  return canvas;
}
