// Tiles to choose from: people, poses, and the two that take a photo.

import { LARGEST } from "./server.js";
import { showThumbnail } from "./skeleton.js";

const IMAGES = "image/*";

// Mark the tile that is chosen in a group; null: none.
export function press(group, chosen) {
  for (const tile of group.querySelectorAll("button")) tile.setAttribute("aria-pressed", String(tile === chosen));
}

function tile(group, content, name, click) {
  const button = Object.assign(document.createElement("button"), { type: "button", className: "tile" });
  button.setAttribute("aria-pressed", "false");
  button.append(content, Object.assign(document.createElement("span"), { textContent: name }));
  button.addEventListener("click", () => click(button));
  group.append(button);
  return button;
}

function choiceTile(group, content, name, choose) {
  return tile(group, content, name, (button) => {
    press(group, button);
    choose();
  });
}

// A tile with a picture; the button, so that it may be pressed.
export function pictureTile(group, source, name, choose) {
  return choiceTile(group, Object.assign(document.createElement("img"), { src: source, alt: "" }), name, choose);
}

// A tile with a skeleton that fills it.
export function poseTile(group, pose, bones, name, choose) {
  const canvas = document.createElement("canvas");
  showThumbnail(canvas, pose, bones);
  return choiceTile(group, canvas, name, choose);
}

// A tile with a sign in place of a picture, which leads somewhere and so is not chosen by a click.
export function signTile(group, sign, name, go) {
  return tile(group, Object.assign(document.createElement("b"), { textContent: sign, ariaHidden: "true" }), name, go);
}

// A tile that asks for an image file and hands it on; `refuse` gets a sentence where it is too large.
export function uploadTile(group, id, name, take, refuse) {
  const label = Object.assign(document.createElement("label"), { className: "tile upload" });
  const input = Object.assign(document.createElement("input"), { type: "file", id, accept: IMAGES });
  const plus = Object.assign(document.createElement("b"), { textContent: "+" });
  label.append(input, plus, Object.assign(document.createElement("span"), { textContent: name }));
  input.addEventListener("change", () => {
    const [file] = input.files;
    if (!file) return;
    if (file.size > LARGEST) refuse("That file is larger than 12 MB; choose a smaller picture.");
    else take(file);
    input.value = ""; // the same file may be chosen again
  });
  group.append(label);
}
