// Skeletons on canvases. A pose is 18 times x, y, confidence in pixels, the middle of the first pixel at 0; confidence 0: not there.

const GROUND = "#18181c";
const THUMBNAIL = { width: 120, height: 180, margin: 12 };

const hue = (share) => `hsl(${Math.round(360 * share)} 100% 62%)`;
export const isThere = (joint) => joint[2] > 0;

// Bones and joints where `place` puts them on the canvas; the joint number `chosen` has a ring about it.
function paint(pen, pose, bones, place, thickness, chosen = null) {
  pen.lineCap = "round";
  pen.lineWidth = thickness;
  bones.forEach(([start, end], number) => {
    if (!isThere(pose[start]) || !isThere(pose[end])) return;
    pen.strokeStyle = hue(number / bones.length);
    pen.beginPath();
    pen.moveTo(...place(pose[start]));
    pen.lineTo(...place(pose[end]));
    pen.stroke();
  });
  pose.forEach((joint, number) => {
    if (!isThere(joint)) return;
    pen.fillStyle = hue(number / pose.length);
    pen.beginPath();
    pen.arc(...place(joint), thickness, 0, 2 * Math.PI);
    pen.fill();
    if (number !== chosen) return;
    pen.strokeStyle = "white";
    pen.lineWidth = thickness / 2;
    pen.beginPath();
    pen.arc(...place(joint), 2.2 * thickness, 0, 2 * Math.PI);
    pen.stroke();
  });
}

// A pose where it stands in a picture of `width` x `height`, over `picture` (null: a dark ground), `scale` times as large.
export function showPose(canvas, { pose, bones, width, height, scale, picture = null, chosen = null }) {
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.fillStyle = GROUND;
  pen.fillRect(0, 0, canvas.width, canvas.height);
  if (picture) pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const thickness = Math.max(1, canvas.height / (picture ? 160 : 80));
  paint(pen, pose, bones, ([x, y]) => [(x + 0.5) * scale, (y + 0.5) * scale], thickness, chosen);
}

// A pose as large as it goes.
export function showThumbnail(canvas, pose, bones) {
  const { width, height, margin } = THUMBNAIL;
  Object.assign(canvas, { width, height });
  const pen = canvas.getContext("2d");
  pen.fillStyle = GROUND;
  pen.fillRect(0, 0, width, height);
  const seen = pose.filter(isThere);
  const [low, high] = [Math.min, Math.max].map((end) => [0, 1].map((axis) => end(...seen.map((joint) => joint[axis]))));
  const spans = [high[0] - low[0], high[1] - low[1]];
  const scale = Math.min((width - 2 * margin) / Math.max(spans[0], 1), (height - 2 * margin) / Math.max(spans[1], 1));
  const place = ([x, y]) => [width / 2 + scale * (x - low[0] - spans[0] / 2), height / 2 + scale * (y - low[1] - spans[1] / 2)];
  paint(pen, pose, bones, place, 4.5);
}
