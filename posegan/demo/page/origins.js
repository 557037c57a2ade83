// What of the drawing is copied from the source, and what the network invented.

const byId = (id) => document.getElementById(id);
const percent = (share) => `${Math.round(100 * share)} %`;

function show(id, source) {
  byId(id).hidden = !source;
  if (source) byId(id).src = source;
}

// The opacity of what is copied, as a picture of two colours.
async function showMask(copied) {
  const canvas = byId("mask");
  const image = new Image();
  image.src = copied;
  await image.decode();
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const pen = canvas.getContext("2d");
  const colours = getComputedStyle(document.documentElement);
  const fill = (operation, colour) => {
    pen.globalCompositeOperation = operation;
    pen.fillStyle = colours.getPropertyValue(colour);
    pen.fillRect(0, 0, canvas.width, canvas.height);
  };
  pen.drawImage(image, 0, 0);
  fill("source-in", "--copied");
  fill("destination-over", "--invented");
}

// An answer to `draw`.
export async function showOrigins({ warped, copied, invented, body_share: body, ground_share: ground }) {
  show("warped", warped);
  show("copied", copied);
  show("invented", invented);
  byId("mask").hidden = !copied;
  byId("shares").textContent = copied
    ? `Here ${percent(body)} of the person and ${percent(ground)} of the ground are copied.`
    : "This generator draws in several steps, each from the one before: what it copied cannot be told.";
  if (copied) await showMask(copied);
}
