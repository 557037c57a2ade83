// The person walking: pictures are drawn a few at a time, shown as they come, and played in a circle when all are there.

import { ask } from "./server.js";

const RATE = 12; // pictures a second
const byId = (id) => document.getElementById(id);

async function decoded(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

export class Walk {
  #pictures = [];
  #playing = false;
  #shown = 0;
  #number = 0; // of the walk that was asked for last; an earlier one stops when it sees another

  constructor() {
    byId("play").addEventListener("click", () => (this.#playing ? this.pause() : this.play()));
    setInterval(() => this.#playing && this.#next(), 1000 / RATE);
  }

  // Draw a walk through `poses`, `frames` at a time, of `person` (what `animate` asks for but the poses); an earlier walk is given up.
  async draw(person, poses, frames) {
    const number = ++this.#number;
    const pictures = [];
    const [status, progress] = [byId("walk-status"), byId("walk-progress")];
    this.#pictures = [];
    progress.max = poses.length;
    progress.hidden = false;
    byId("walking").classList.add("busy"); // it still shows who walked before
    try {
      for (let start = 0; start < poses.length; start += frames) {
        progress.value = start;
        status.textContent = `Drawing ${start} of ${poses.length} ...`;
        const question = { ...person, targets: poses.slice(start, start + frames) };
        const { results } = await ask("animate", JSON.stringify(question));
        pictures.push(...(await Promise.all(results.map(decoded))));
        if (number !== this.#number) return;
        byId("walking").classList.remove("busy");
        this.#show(pictures.at(-1));
      }
      this.#pictures = pictures;
      status.textContent = `${pictures.length} pictures, each drawn from the source alone.`;
    } catch (error) {
      if (number === this.#number) status.textContent = error.message;
    } finally {
      if (number === this.#number) progress.hidden = true;
    }
  }

  play() {
    this.#set(true);
  }

  pause() {
    this.#set(false);
  }

  #set(playing) {
    this.#playing = playing;
    byId("play").textContent = playing ? "pause" : "play";
  }

  #next() {
    if (!this.#pictures.length) return;
    this.#shown = (this.#shown + 1) % this.#pictures.length;
    this.#show(this.#pictures[this.#shown]);
  }

  #show(picture) {
    const canvas = byId("walking");
    [canvas.width, canvas.height] = [picture.naturalWidth, picture.naturalHeight];
    canvas.getContext("2d").drawImage(picture, 0, 0);
  }
}
