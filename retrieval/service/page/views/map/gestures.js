// What a pointer, two fingers, a wheel and keys do to the map.

const REACH = 14;
const STEP = 60;
const CLICK_PIXELS = 5;

export class Gestures {
  constructor(map) {
    Object.assign(this, { map, canvas: map.canvas, pointers: new Map() });
  }

  start() {
    const on = (name, listener) => this.canvas.addEventListener(name, listener);
    on("wheel", (event) => this.wheel(event));
    on("pointerdown", (event) => this.down(event));
    on("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) on(name, (event) => this.up(event));
    on("pointerleave", () => this.map.look(null, 0, 0));
    on("keydown", (event) => this.key(event));
  }

  wheel(event) {
    event.preventDefault();
    const { left, top } = this.canvas.getBoundingClientRect();
    this.map.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.clientX - left, event.clientY - top);
  }

  at(event) {
    const { left, top } = this.canvas.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  down(event) {
    const at = this.at(event);
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, at);
    this.travelled = this.pointers.size > 1 ? Infinity : 0;
  }

  move(event) {
    const at = this.at(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      const [point] = this.map.nearest(at.x, at.y, 1, REACH);
      this.map.look(point ?? null, at.x, at.y);
      return;
    }
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    this.pointers.set(event.pointerId, at);
    if (others.length) {
      this.pinch(others[0], before, at);
      return;
    }
    this.travelled += Math.hypot(at.x - before.x, at.y - before.y);
    if (this.travelled <= CLICK_PIXELS) return;
    this.canvas.classList.add("is-dragged");
    this.map.look(null, 0, 0);
    this.map.pan(at.x - before.x, at.y - before.y);
  }

  pinch(still, before, at) {
    const distance = (one) => Math.hypot(one.x - still.x, one.y - still.y) || 1;
    const middle = (one) => ({ x: (one.x + still.x) / 2, y: (one.y + still.y) / 2 });
    this.map.pan(middle(at).x - middle(before).x, middle(at).y - middle(before).y);
    this.map.zoom(distance(at) / distance(before), middle(at).x, middle(at).y);
  }

  up(event) {
    if (!this.pointers.delete(event.pointerId) || event.type === "pointercancel") return;
    this.canvas.classList.remove("is-dragged");
    if (this.travelled > CLICK_PIXELS) return;
    const { x, y } = this.at(event);
    const isTouch = event.pointerType === "touch";
    const [point = null] = this.map.nearest(x, y, 1, isTouch ? 2 * REACH : REACH);
    // A finger shows what is there first, and opens it when it is tapped again.
    if (point != null && (!isTouch || point === this.map.over)) this.map.told.onOpen(point);
    else this.map.look(point, x, y);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const actions = {
      ArrowLeft: () => this.map.pan(STEP, 0),
      ArrowRight: () => this.map.pan(-STEP, 0),
      ArrowUp: () => this.map.pan(0, STEP),
      ArrowDown: () => this.map.pan(0, -STEP),
      "+": () => this.map.zoom(1.3),
      "=": () => this.map.zoom(1.3),
      "-": () => this.map.zoom(1 / 1.3),
      0: () => this.map.reset(),
      Enter: () => {
        const [point] = this.map.nearest(this.map.width / 2, this.map.height / 2, 1);
        if (point != null) this.map.told.onOpen(point);
      },
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }
}
