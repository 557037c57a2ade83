// The page: a person, a pose, the drawing.

import { pictureTile, poseTile, press, signTile, uploadTile } from "./choices.js";
import { Editor } from "./editor.js";
import { Joints } from "./joints.js";
import { showOrigins } from "./origins.js";
import { ask } from "./server.js";
import { isThere, showPose } from "./skeleton.js";
import { Walk } from "./walk.js";

const FIRST = { person: 2, posture: "walking-3", side: "front-left" }; // what the page opens with
const SCALE = 6; // canvas pixels a pixel of the generator
const PAUSE = 400; // milliseconds without a turn before a walk is drawn anew
const byId = (id) => document.getElementById(id);

const state = {
  about: null, // what the program said of itself
  person: null, // image, keypoints, photo, photo_keypoints; picture and photograph, the two images decoded
  target: null, // a pose
  posture: null, // the name of the built-in pose that `target` is, without its side; null: it is another one
  asked: 0, // pictures that were looked at; an answer to an earlier one comes too late
  drawing: false,
  again: false, // something changed while a drawing was made
};
let editor, bending, walk, timer;

const side = () => state.about.turns[byId("side").value];

function say(text, { failed = false, busy = false } = {}) {
  byId("status").textContent = text;
  byId("status").classList.toggle("error", failed);
  byId("progress").hidden = !busy;
  byId("drawing").classList.toggle("busy", busy);
}

async function decoded(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

// --- drawing

// What every question about this person holds.
const question = () => ({ image: state.person.image, keypoints: state.person.keypoints, generator: byId("generator").value });

// One drawing at a time; what changed meanwhile is drawn after it.
async function draw() {
  if (state.drawing) {
    state.again = true;
    return;
  }
  state.drawing = true;
  do {
    state.again = false;
    say("Drawing ...", { busy: true });
    try {
      const answer = await ask("draw", JSON.stringify({ ...question(), target: state.target }));
      byId("result").src = byId("download").href = answer.result;
      byId("result").hidden = byId("download").hidden = false;
      await showOrigins(answer);
      say(`Drawn in ${answer.milliseconds} ms.`);
    } catch (error) {
      say(error.message, { failed: true });
    }
  } while (state.again);
  state.drawing = false;
}

function drawWalk() {
  clearTimeout(timer);
  timer = setTimeout(() => walk.draw(question(), state.about.walks[side()], state.about.frames), PAUSE);
}

// --- the person

const scene = (pose) => ({ pose, bones: state.about.bones, width: state.about.width, height: state.about.height, scale: SCALE });

function showSource() {
  const joints = byId("show-joints").checked ? state.person.keypoints : state.person.keypoints.map(() => [0, 0, 0]);
  showPose(byId("source"), { ...scene(joints), picture: state.person.picture });
}

function describeFound({ detector, confidence, keypoints }) {
  const missing = state.about.joints.filter((_, number) => !isThere(keypoints[number]));
  const count = `${keypoints.length - missing.length} of ${keypoints.length} joints`;
  const lacking = missing.length ? `, all but ${missing.join(", ")}` : "";
  return `The detector ${detector ? `is ${detector}. It ` : ""}found a person (confidence ${confidence}) with ${count}${lacking}.`;
}

// Draw a person from now on: image, keypoints, photo, photo_keypoints.
async function usePerson(person, words) {
  const [picture, photograph] = await Promise.all([decoded(person.image), decoded(person.photo)]);
  state.person = { ...person, picture, photograph };
  byId("found").textContent = words;
  byId("correct").disabled = false;
  showSource();
  drawWalk();
  await draw();
}

function useGenerator(name) {
  byId("generator").value = name;
  byId("origin").textContent = `The generator ${name}: ${state.about.generators[name]}`;
}

function useBuiltIn(person) {
  state.asked++;
  useGenerator(person.generator);
  const known = { ...person, photo: person.image, photo_keypoints: person.keypoints };
  return usePerson(known, "A drawn person that comes with the page, and that no training saw; the joints come along.");
}

function usePhotograph(found) {
  press(byId("people"), null);
  useGenerator(found.generator);
  return usePerson(found, describeFound(found));
}

// Ask for the person of a picture, and use the answer unless a later choice has overtaken it.
async function find(file, use) {
  const number = ++state.asked;
  say("Looking for the person ...", { busy: true });
  try {
    const found = await ask("find", file);
    if (number !== state.asked) return;
    await use(found);
  } catch (error) {
    if (number === state.asked) say(error.message, { failed: true });
  }
}

function correct() {
  const { photo, photo_keypoints: pose, photograph } = state.person;
  const [width, height] = [photograph.naturalWidth, photograph.naturalHeight];
  editor.open({ title: "Where the joints are", pose, width, height, picture: photograph }, async (joints) => {
    const number = ++state.asked;
    try {
      const fitted = await ask("fit", JSON.stringify({ photo, photo_keypoints: joints }));
      if (number !== state.asked) return;
      await usePerson({ ...fitted, photo, photo_keypoints: joints }, "The joints as you corrected them.");
    } catch (error) {
      if (number === state.asked) say(error.message, { failed: true });
    }
  });
}

// --- the pose

function useTarget(pose) {
  state.target = pose.map((joint) => [...joint]);
  bending.show(scene(state.target));
}

const bend = () => editor.open({ title: "Bend the pose", ...scene(state.target) }, useOther);

// The target was bent on its canvas, or is another that is none of the tiles.
function useBent(pose) {
  state.posture = null;
  state.target = pose.map((joint) => [...joint]);
  showPoses();
  return draw();
}

function useOther(pose) {
  useTarget(pose);
  return useBent(pose);
}

function showPoses() {
  const group = byId("poses");
  group.replaceChildren();
  for (const posture of state.about.postures) {
    const pose = state.about.poses[`${posture}/${side()}`];
    const tile = poseTile(group, pose, state.about.bones, posture.replaceAll("-", " "), () => {
      state.posture = posture;
      useTarget(pose);
      draw();
    });
    if (posture === state.posture) press(group, tile);
  }
  const byHand = signTile(group, "✎", "by hand", bend);
  if (state.posture === null) press(group, byHand);
  uploadTile(group, "pose-file", "of a photo", (file) => find(file, (found) => useOther(found.keypoints)), refuse);
}

function turn() {
  byId("side-name").textContent = side().replace("-", " ");
  byId("side").setAttribute("aria-valuetext", byId("side-name").textContent);
  showPoses();
  drawWalk();
  if (state.posture === null) return;
  useTarget(state.about.poses[`${state.posture}/${side()}`]);
  draw();
}

// --- the start

const refuse = (sentence) => say(sentence, { failed: true });

// Sides in the order of a turn, the front in the middle.
function inTurn(sides) {
  const half = sides.length / 2;
  return [...sides.slice(half + 1), ...sides.slice(0, half + 1)];
}

function prepareChoices() {
  const { about } = state;
  for (const name of Object.keys(about.generators)) byId("generator").add(new Option(name));
  byId("generator").disabled = byId("generator").options.length < 2;
  byId("generator").addEventListener("change", () => {
    useGenerator(byId("generator").value);
    drawWalk();
    draw();
  });
  byId("side").max = about.turns.length - 1;
  byId("side").value = about.turns.indexOf(FIRST.side);
  byId("side").addEventListener("input", turn);
  const group = byId("people");
  const tiles = about.people.map((person, number) => pictureTile(group, person.image, `drawn ${number + 1}`, () => useBuiltIn(person)));
  uploadTile(group, "person-file", "your photo", (file) => find(file, (found) => usePhotograph(found)), refuse);
  press(group, tiles[FIRST.person]);
}

async function start() {
  const about = await ask("state");
  state.about = { ...about, turns: inTurn(about.sides) };
  editor = new Editor(about.joints, about.bones);
  bending = new Joints(byId("pose"), about.bones, { chosen: () => {}, done: useBent }, { byTouch: false });
  walk = new Walk();
  prepareChoices();
  byId("show-joints").addEventListener("change", showSource);
  byId("correct").addEventListener("click", correct);
  byId("bend").addEventListener("click", bend);
  state.posture = FIRST.posture;
  showPoses();
  useTarget(about.poses[`${FIRST.posture}/${FIRST.side}`]);
  byId("side-name").textContent = side().replace("-", " ");
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) walk.play();
  await useBuiltIn(about.people[FIRST.person]);
}

start().catch((error) => say(`The page could not start; reload it. (${error.message})`, { failed: true }));
