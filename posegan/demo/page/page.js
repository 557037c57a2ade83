"use strict";

const PEOPLE = 4;
const LARGEST = 12 * 2 ** 20; // bytes; the server refuses more
const REACH = 22; // CSS pixels within which a joint is caught
const byId = (id) => document.getElementById(id);
const state = { about: null, person: null, target: null, asked: 0, drawing: false, again: false };

function say(text, failed = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("error", failed);
}

async function ask(path, body) {
  let response;
  try {
    response = await fetch(path, { method: "POST", body });
  } catch {
    throw new Error("The program does not answer; is posegan demo still running?");
  }
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

function hue(share) {
  return `hsl(${Math.round(360 * share)} 100% 62%)`;
}

// Bones and joints of a pose, in the generator's pixels, on a canvas of `scale` times that size.
function drawSkeleton(canvas, pose, scale) {
  const { width, height, bones } = state.about;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#18181c";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.lineWidth = Math.max(1, (height / 64) * scale);
  const at = (joint) => [(pose[joint][0] + 0.5) * scale, (pose[joint][1] + 0.5) * scale];
  bones.forEach(([start, end], number) => {
    if (pose[start][2] <= 0 || pose[end][2] <= 0) return;
    pen.strokeStyle = hue(number / bones.length);
    pen.beginPath();
    pen.moveTo(...at(start));
    pen.lineTo(...at(end));
    pen.stroke();
  });
  pose.forEach((joint, number) => {
    if (joint[2] <= 0) return;
    pen.fillStyle = hue(number / pose.length);
    pen.beginPath();
    pen.arc(...at(number), pen.lineWidth, 0, 2 * Math.PI);
    pen.fill();
  });
}

function showTarget() {
  drawSkeleton(byId("skeleton"), state.target, 4);
  drawSkeleton(byId("pose"), state.target, 2);
}

// One drawing at a time; what changed meanwhile is drawn after it.
async function draw() {
  if (!state.person || !state.target) return;
  if (state.drawing) {
    state.again = true;
    return;
  }
  state.drawing = true;
  do {
    state.again = false;
    try {
      const answer = await ask("draw", JSON.stringify({ ...state.person, target: state.target }));
      byId("result").src = answer.result;
      byId("warped").src = answer.warped;
      byId("result").hidden = byId("warped").hidden = byId("download").hidden = false;
      byId("download").href = answer.result;
      say(`Drawn in ${answer.milliseconds} ms.`);
    } catch (error) {
      say(error.message, true);
    }
  } while (state.again);
  state.drawing = false;
}

function press(group, chosen) {
  for (const button of group.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button === chosen));
}

async function find(data, use) {
  const number = ++state.asked;
  say("Looking for the person ...");
  try {
    const found = await ask("find", data);
    if (number !== state.asked) return; // a later choice has overtaken this one
    say("");
    use(found);
    await draw();
  } catch (error) {
    if (number === state.asked) say(error.message, true);
  }
}

function usePerson(found) {
  state.person = found;
  byId("source").src = found.image;
  byId("source").hidden = false;
}

function useTarget(pose) {
  state.target = pose.map((joint) => [...joint]);
  showTarget();
}

function upload(input, use) {
  input.addEventListener("change", () => {
    const [file] = input.files;
    if (!file) return;
    if (file.size > LARGEST) say("That file is larger than 12 MB; choose a smaller picture.", true);
    else find(file, use);
    input.value = ""; // the same file may be chosen again
  });
}

function showPeople() {
  for (let number = 1; number <= PEOPLE; number++) {
    const button = document.createElement("button");
    const image = document.createElement("img");
    image.src = `people/${number}.jpg`;
    image.alt = `Drawn person ${number}`;
    button.append(image);
    button.addEventListener("click", async () => {
      press(byId("people"), button);
      find(await (await fetch(image.src)).blob(), usePerson);
    });
    byId("people").append(button);
  }
}

function showPoses() {
  const side = byId("side").value;
  byId("poses").replaceChildren();
  for (const [name, pose] of Object.entries(state.about.poses)) {
    if (!name.endsWith(`/${side}`)) continue;
    const button = document.createElement("button");
    button.title = name;
    button.setAttribute("aria-label", name);
    const canvas = document.createElement("canvas");
    button.append(canvas);
    drawSkeleton(canvas, pose, 1);
    button.addEventListener("click", () => {
      press(byId("poses"), button);
      state.asked++;
      useTarget(pose);
      draw();
    });
    byId("poses").append(button);
  }
}

function dragJoints(canvas) {
  let held = null;
  const where = (event) => {
    const box = canvas.getBoundingClientRect();
    const scale = state.about.width / box.width;
    return [(event.clientX - box.left) * scale - 0.5, (event.clientY - box.top) * scale - 0.5, REACH * scale];
  };
  canvas.addEventListener("pointerdown", (event) => {
    const [x, y, reach] = where(event);
    let nearest = reach;
    held = null;
    state.target.forEach((joint, number) => {
      const distance = Math.hypot(joint[0] - x, joint[1] - y);
      if (joint[2] > 0 && distance < nearest) [nearest, held] = [distance, number];
    });
    if (held !== null) canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (held === null) return;
    const [x, y] = where(event);
    const { width, height } = state.about;
    state.target[held] = [Math.min(Math.max(x, 0), width - 1), Math.min(Math.max(y, 0), height - 1), 1];
    showTarget();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => {
      if (held === null) return;
      held = null;
      press(byId("poses"), null);
      draw();
    });
  }
}

async function start() {
  state.about = await (await fetch("state")).json();
  const sides = new Set(Object.keys(state.about.poses).map((name) => name.split("/")[1]));
  for (const side of sides) byId("side").add(new Option(side, side));
  byId("side").addEventListener("change", showPoses);
  showPeople();
  showPoses();
  useTarget(state.about.poses["standing/front"]);
  dragJoints(byId("skeleton"));
  upload(byId("person-file"), (found) => {
    press(byId("people"), null);
    usePerson(found);
  });
  upload(byId("pose-file"), (found) => {
    press(byId("poses"), null);
    useTarget(found.keypoints);
  });
  say("Pick a person.");
}

start().catch(() => say("The page could not start; reload it.", true));
