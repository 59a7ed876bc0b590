// Runs once, in the component that shows answers. Gradio supplies `element`, `upload`, `trigger`, `watch` and `props`.
const sound = new Audio();
const files = new Map(); // path of an upload -> the visitor's own file, which is played: the server keeps no copy
const find = (name) => document.querySelector(`#page ${name}`);
const showMessage = (text) => { find(".drop + .message").textContent = text; };

function stopSound() {
  sound.pause();
  URL.revokeObjectURL(sound.src);
}

function refuse(file, reason) {
  stopSound();
  props.value = { html: "", json: null }; // otherwise the previous song would seem to be the answer
  showMessage(`${file.name}: ${reason}`);
}

async function send(file) {
  if (file.size > props.max_megabytes * 1e6) {
    return refuse(file, `${(file.size / 1e6).toFixed(1)} MB, expected at most ${props.max_megabytes} MB`);
  }
  showMessage("");
  try {
    const { path } = await upload(file);
    files.set(path, file);
    trigger("dropped", { path, name: file.name });
  } catch (error) {
    refuse(file, `cannot be sent (${error.message})`);
  }
}

find(".drop input").addEventListener("change", ({ target }) => {
  if (target.files.length) send(target.files[0]);
  target.value = ""; // so that the same file can be chosen again
});
for (const [name, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    find(".drop").classList.toggle("over", over);
    if (name === "drop" && event.dataTransfer.files.length) send(event.dataTransfer.files[0]);
  });
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(props.value.json, null, 1)], { type: "application/json" }));
  link.download = `${props.value.json.path}.json`;
  link.click();
  URL.revokeObjectURL(link.href);
}

element.addEventListener("click", ({ target }) => {
  if (target.closest(".play")) sound.paused ? sound.play() : sound.pause();
  if (target.closest(".download")) download();
});
element.addEventListener("input", ({ target }) => {
  if (target.matches(".cursor")) { sound.currentTime = target.value; show(); }
});

function show() {
  if (!props.value.json) return;
  const now = sound.currentTime, { json } = props.value, cursor = find(".cursor");
  cursor.value = now;
  find(".score").style.setProperty("--played", now / cursor.max);
  find(".play").classList.toggle("playing", !sound.paused);
  find(".clock output").textContent = `${Math.floor(now / 60)}:${String(Math.floor(now % 60)).padStart(2, "0")}`;
  const distances = json.times.map((start) => Math.abs(start + json.window_seconds / 2 - now));
  const nearest = distances.indexOf(Math.min(...distances));
  for (const bar of element.querySelectorAll(".bar")) {
    bar.style.setProperty("--now", json.probabilities[bar.dataset.tag][nearest]);
  }
  if (!sound.paused) requestAnimationFrame(show);
}
for (const name of ["play", "pause", "seeked", "ended"]) sound.addEventListener(name, show);
sound.addEventListener("error", () => showMessage("This browser cannot play the file. Its tags are below."));

watch("value", () => {
  stopSound();
  if (!props.value.json) return;
  sound.src = URL.createObjectURL(files.get(props.value.path));
  show();
});
