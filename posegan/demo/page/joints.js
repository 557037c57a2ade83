// A skeleton whose joints can be dragged, or chosen with [ and ] and moved with the arrows.

import { isThere, showPose } from "./skeleton.js";

const REACH = 22; // CSS pixels within which a joint is caught
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Joints {
  #canvas;
  #bones;
  #tell;
  #scene = null; // pose, width, height, scale, picture
  #chosen = null; // number of a joint
  #held = false;
  #wanted = null; // number of a missing joint that the next press puts somewhere

  // `tell.chosen(number)` when a joint is chosen (null: none), `tell.done(pose)` after a change.
  // With `byTouch: false` fingers scroll the page instead of dragging.
  constructor(canvas, bones, tell, { byTouch = true } = {}) {
    Object.assign(this, { byTouch });
    [this.#canvas, this.#bones, this.#tell] = [canvas, bones, tell];
    if (byTouch) canvas.style.touchAction = "none";
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#held && this.#moveTo(this.#where(event)));
    canvas.addEventListener("pointerup", () => this.#release());
    canvas.addEventListener("pointercancel", () => this.#release());
    canvas.addEventListener("keydown", (event) => this.#key(event));
  }

  get pose() {
    return this.#scene.pose;
  }

  // Show a pose, which is copied, in a picture of `width` x `height`.
  show({ pose, width, height, scale, picture = null }) {
    this.#scene = { pose: pose.map((joint) => [...joint]), width, height, scale, picture };
    this.#wanted = null;
    this.#choose(null);
  }

  // Let the next press say where this missing joint is.
  want(number) {
    this.#wanted = number;
    this.#tell.chosen(number);
  }

  // The chosen joint cannot be seen.
  hide() {
    if (this.#chosen === null) return;
    this.pose[this.#chosen] = [0, 0, 0];
    this.#choose(null);
    this.#tell.done(this.pose);
  }

  #where(event) {
    const box = this.#canvas.getBoundingClientRect();
    const scale = this.#scene.width / box.width;
    return { x: (event.clientX - box.left) * scale - 0.5, y: (event.clientY - box.top) * scale - 0.5, reach: REACH * scale };
  }

  #press(event) {
    if (!this.#scene || (event.pointerType === "touch" && !this.byTouch)) return;
    const place = this.#where(event);
    const nearest = this.#wanted ?? this.#nearest(place);
    this.#choose(nearest);
    if (nearest === null) return;
    this.#held = true;
    this.#canvas.setPointerCapture(event.pointerId);
    if (this.#wanted !== null) this.#moveTo(place);
    this.#wanted = null;
  }

  #nearest({ x, y, reach }) {
    let [found, least] = [null, reach];
    this.pose.forEach((joint, number) => {
      const distance = Math.hypot(joint[0] - x, joint[1] - y);
      if (isThere(joint) && distance < least) [found, least] = [number, distance];
    });
    return found;
  }

  #moveTo({ x, y }) {
    const { width, height, pose } = this.#scene;
    pose[this.#chosen] = [Math.min(Math.max(x, 0), width - 1), Math.min(Math.max(y, 0), height - 1), 1];
    this.#paint();
  }

  #release() {
    if (!this.#held) return;
    this.#held = false;
    this.#tell.done(this.pose);
  }

  #key(event) {
    const arrow = ARROWS[event.key];
    if (!this.#scene || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "[" || event.key === "]") this.#step(event.key === "]" ? 1 : -1);
    else if (event.key === "Delete") this.hide();
    else if (arrow && this.#chosen !== null) {
      const [x, y] = this.pose[this.#chosen];
      this.#moveTo({ x: x + arrow[0], y: y + arrow[1] });
      this.#tell.done(this.pose);
    } else return;
    event.preventDefault();
  }

  #step(by) {
    const there = [...this.pose.keys()].filter((number) => isThere(this.pose[number]));
    const at = there.indexOf(this.#chosen);
    const next = at < 0 ? (by > 0 ? 0 : there.length - 1) : (at + by + there.length) % there.length;
    this.#choose(there[next] ?? null);
  }

  #choose(number) {
    this.#chosen = number;
    this.#tell.chosen(number);
    this.#paint();
  }

  #paint() {
    showPose(this.#canvas, { ...this.#scene, bones: this.#bones, chosen: this.#chosen });
  }
}
