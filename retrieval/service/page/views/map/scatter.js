// Points on a canvas, with a view of them.

import { element } from "../../dom.js";
import { addShape, markOf, onScheme } from "../../plot.js";
import { Gestures } from "./gestures.js";

const MARGIN = 24;
const MOST_ZOOM = 400;
const ASPECTS = { least: 0.8, most: 1.8 };

export class Scatter {
  /** `told` holds onOver(point, x, y), onOpen(point), onView(nearest), isHidden(group), numNear. */
  constructor(canvas, found, told) {
    Object.assign(this, { canvas, found, told });
    this.groups = groupsOf(found);
    this.bounds = boundsOf(found);
    this.over = null;
    this.view = null;
    this.probe = element("span", { hidden: true });
  }

  start() {
    this.canvas.after(this.probe);
    this.resize(); // keys may come before the observer does
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.canvas);
    this.endScheme = onScheme(() => this.draw());
    new Gestures(this).start();
    for (const name of ["focus", "blur"]) this.canvas.addEventListener(name, () => this.draw());
  }

  stop() {
    this.observer.disconnect();
    this.endScheme();
    cancelAnimationFrame(this.frame);
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    Object.assign(this, { width, height, ratio });
    if (this.view) this.draw();
    else this.reset();
  }

  /** How wide all of it is for its height, within what a frame can well be. */
  get aspect() {
    const { left, right, low, high } = this.bounds;
    return Math.min(Math.max((right - left) / (high - low) || 1, ASPECTS.least), ASPECTS.most);
  }

  /** All of it, with the same scale along both axes. */
  reset() {
    if (!this.width) return; // the canvas has had no size yet
    const { left, right, low, high } = this.bounds;
    const scale = Math.min(
      (this.width - 2 * MARGIN) / (right - left || 1), (this.height - 2 * MARGIN) / (high - low || 1));
    this.least = scale;
    this.view = { x: (left + right) / 2, y: (low + high) / 2, scale };
    this.draw();
  }

  /** Nearer or further, around a point of the canvas: its middle, where none is given. */
  zoom(factor, x = this.width / 2, y = this.height / 2) {
    if (!this.view) return;
    const before = this.view.scale;
    const scale = Math.min(Math.max(before * factor, this.least / 2), this.least * MOST_ZOOM);
    const away = 1 / before - 1 / scale;
    this.view.x += (x - this.width / 2) * away;
    this.view.y -= (y - this.height / 2) * away;
    this.view.scale = scale;
    this.draw();
  }

  pan(across, down) {
    if (!this.view) return;
    this.view.x -= across / this.view.scale;
    this.view.y += down / this.view.scale;
    this.draw();
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.paint());
  }

  paint() {
    if (!this.view) return;
    const context = this.canvas.getContext("2d");
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    const radius = this.radius;
    this.groups.forEach((points, group) => {
      if (this.told.isHidden(group)) return;
      const { hue, shape } = markOf(group);
      const path = new Path2D();
      for (const point of points) {
        const x = this.left(point);
        const y = this.top(point);
        if (this.isVisible(x, y)) addShape(path, shape, x, y, radius);
      }
      context.fillStyle = this.colour(hue);
      context.globalAlpha = points.length > 5000 ? 0.6 : 0.85;
      context.fill(path);
    });
    context.globalAlpha = 1;
    this.paintMarks(context, radius);
    this.told.onView(this.nearest(this.width / 2, this.height / 2, this.told.numNear));
  }

  paintMarks(context, radius) {
    context.strokeStyle = context.fillStyle = this.colour("");
    context.lineWidth = 2;
    if (this.over != null) {
      context.beginPath();
      context.arc(this.left(this.over), this.top(this.over), radius + 4, 0, 2 * Math.PI);
      context.stroke();
    }
    if (this.canvas.matches(":focus-visible")) { // what Enter opens is near the middle
      const [x, y] = [this.width / 2, this.height / 2];
      context.lineWidth = 1;
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(x + 5 * dx, y + 5 * dy);
        context.lineTo(x + 13 * dx, y + 13 * dy);
      }
      context.stroke();
    }
  }

  get radius() {
    const plain = this.found.ids.length > 5000 ? 2.5 : this.found.ids.length > 1000 ? 3.5 : 5;
    return Math.min(9, plain * (this.view.scale / this.least) ** 0.25);
  }

  colour(name) {
    this.probe.className = name;
    return getComputedStyle(this.probe).color;
  }

  left(point) {
    return this.width / 2 + (this.found.x[point] - this.view.x) * this.view.scale;
  }

  top(point) {
    return this.height / 2 - (this.found.y[point] - this.view.y) * this.view.scale;
  }

  isVisible(x, y) {
    return x > -10 && y > -10 && x < this.width + 10 && y < this.height + 10;
  }

  /** Shown points by their distance from one of the canvas, nearest first, in sight or not. */
  nearest(x, y, wanted, reach = Infinity) {
    const near = [];
    if (!this.view) return near;
    this.groups.forEach((points, group) => {
      if (this.told.isHidden(group)) return;
      for (const point of points) {
        const [left, top] = [this.left(point), this.top(point)];
        const distance = (left - x) ** 2 + (top - y) ** 2;
        if (distance > reach * reach) continue;
        if (near.length === wanted && distance >= near.at(-1).distance) continue;
        const place = near.findIndex((other) => other.distance > distance);
        near.splice(place < 0 ? near.length : place, 0, { point, distance });
        if (near.length > wanted) near.pop();
      }
    });
    return near.map(({ point }) => point);
  }

  look(point, x, y) {
    if (point !== this.over) {
      this.over = point;
      this.canvas.classList.toggle("is-over", point != null);
      this.draw();
    }
    this.told.onOver(point, x, y);
  }
}

/** The points of each group: one group of all, where there are no colours. */
function groupsOf(found) {
  const all = found.ids.map((_, point) => point);
  if (!found.colours) return [all];
  const groups = found.values.map(() => []);
  for (const point of all) groups[found.colours[point]].push(point);
  return groups;
}

function boundsOf({ x, y }) {
  const least = (values) => values.reduce((one, other) => Math.min(one, other), Infinity);
  const most = (values) => values.reduce((one, other) => Math.max(one, other), -Infinity);
  return { left: least(x), right: most(x), low: least(y), high: most(y) };
}
