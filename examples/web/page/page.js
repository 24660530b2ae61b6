// The page: what is dropped or edited goes to the model, what it finds is shown.

import init, { Mini, prompts } from "./crossalign_web.js";

/** Classes that are shown, best first. */
const SHOWN = 10;

const element = (id) => document.getElementById(id);
const main = document.querySelector("main");

let model, adapter, classes, file;

/** The model; where it cannot be had, each job tells why. */
const opened = open();

async function open() {
    await init();
    element("prompts").value = prompts();
    model = await Mini.open();
    adapter = (await navigator.gpu.requestAdapter()).info;
    classes = await model.compile(prompts());
}

/** Runs jobs one after the other; what one throws is the page's status. */
let last = Promise.resolve();
let waiting = 0;
function run(doing, job) {
    waiting++;
    main.ariaBusy = true;
    last = last.then(async () => {
        show(doing);
        try {
            await opened;
            await job();
            show(`Runs on ${adapter.vendor} ${adapter.architecture}, ${model.device()}`);
        } catch (error) {
            show(error.message ?? String(error), true);
        }
        main.ariaBusy = --waiting > 0;
    });
}

// A fault of the program ends it, and what was asked of it is never answered.
window.onerror = (message) => {
    show(message, true);
    main.ariaBusy = false;
};

function show(text, isError = false) {
    element("status").textContent = text;
    element("status").classList.toggle("error", isError);
}

/** Classifies a picture: a file, or the answer to a request. */
async function take(source) {
    await classify(new Uint8Array(await source.arrayBuffer()));
}

async function classify(bytes) {
    const { predictions } = JSON.parse(await classes.classify(bytes, element("views").value));
    file = bytes;
    const [least, best] = [predictions.at(-1).score, predictions[0].score];
    element("scores").replaceChildren(...predictions.slice(0, SHOWN).map((prediction) => row(prediction, least, best)));
    await explain(predictions[0].class);
}

/** A class with its score, as a bar from the least of all classes to the best. */
function row({ class: name, score }, least, best) {
    const button = document.createElement("button");
    const meter = Object.assign(document.createElement("meter"), { min: least, max: best, value: score });
    const data = Object.assign(document.createElement("data"), { value: score, textContent: score.toFixed(4) });
    button.append(Object.assign(document.createElement("span"), { textContent: name }), meter, data);
    button.title = `Where is the evidence for ${name}?`;
    button.dataset.class = name;
    button.onclick = () => run(`Looking for ${name} …`, () => explain(name));
    const item = document.createElement("li");
    item.append(button);
    return item;
}

async function explain(name) {
    const map = await classes.explain(file, element("views").value, name);
    Object.assign(element("map"), { width: map.width, height: map.height });
    element("map").getContext("2d").putImageData(new ImageData(map.pixels, map.width, map.height), 0, 0);
    map.free();
    element("explained").textContent = `Evidence for ${name}, least to most`;
    for (const button of element("scores").querySelectorAll("button")) {
        button.ariaPressed = button.dataset.class === name;
    }
}

async function compile() {
    const compiled = await model.compile(element("prompts").value);
    classes.free();
    classes = compiled;
    await classify(file);
}

element("prompts").onchange = () => run("Reading the descriptions …", compile);
element("views").onchange = () => run("Looking at the picture …", () => classify(file));
element("file").onchange = ({ target }) => target.files[0] && run("Looking at the picture …", () => take(target.files[0]));
document.ondragover = (event) => {
    event.preventDefault();
    document.body.classList.add("over");
};
document.ondragleave = () => document.body.classList.remove("over");
document.ondrop = (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    const [dropped] = event.dataTransfer.files;
    if (dropped) run("Looking at the picture …", () => take(dropped));
};

run("Loading the model …", async () => take(await fetch("example.png")));
