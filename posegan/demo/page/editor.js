// The dialog in which joints are corrected over a photo, or a pose is bent in large.

import { Joints } from "./joints.js";
import { isThere } from "./skeleton.js";

const LARGEST = 1024; // pixels of the canvas's longer side, about
const byId = (id) => document.getElementById(id);

export class Editor {
  #dialog = byId("editor");
  #joints;
  #names;
  #use = null;

  constructor(names, bones) {
    this.#names = names;
    this.#joints = new Joints(byId("editor-canvas"), bones, {
      chosen: (number) => this.#showChosen(number),
      done: () => this.#showMissing(),
    });
    byId("editor-hide").addEventListener("click", () => this.#joints.hide());
    byId("editor-cancel").addEventListener("click", () => this.#dialog.close());
    byId("editor-done").addEventListener("click", () => {
      this.#dialog.close();
      this.#use(this.#joints.pose);
    });
  }

  // Show a pose, over `picture` if there is one; `use` gets it when the visitor is done.
  open({ title, pose, width, height, picture = null }, use) {
    byId("editor-title").textContent = title;
    this.#use = use;
    this.#joints.show({ pose, width, height, picture, scale: Math.max(1, LARGEST / Math.max(width, height)) });
    this.#showMissing();
    this.#dialog.showModal();
    byId("editor-canvas").focus();
  }

  #showChosen(number) {
    byId("editor-joint").textContent = number === null ? "Drag a joint to where it is." : this.#names[number];
    byId("editor-hide").hidden = number === null;
  }

  // The joints that are not there, each a button, after which the next press puts it somewhere.
  #showMissing() {
    const missing = [...this.#names.keys()].filter((number) => !isThere(this.#joints.pose[number]));
    const buttons = missing.map((number) => {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: this.#names[number] });
      button.addEventListener("click", () => {
        this.#joints.want(number);
        byId("editor-joint").textContent = `Press where the ${this.#names[number]} is.`;
        byId("editor-hide").hidden = true;
      });
      return button;
    });
    byId("editor-missing").replaceChildren(...(buttons.length ? ["Not seen: ", ...buttons] : []));
  }
}
