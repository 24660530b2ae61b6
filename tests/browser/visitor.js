// A visitor of the page: takes steps, and posts what the page shows after each.

const element = (id) => document.getElementById(id);
const main = document.querySelector("main");

/** When the page has done what it was asked. */
async function loaded() {
    while (main.ariaBusy !== "false") await new Promise((resolve) => setTimeout(resolve, 20));
}

async function drop(path) {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([await (await fetch(path)).blob()], path));
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
}

function explain(place) {
    element("scores").querySelectorAll("button")[place].click();
}

function type(text) {
    element("prompts").value = text;
    element("prompts").dispatchEvent(new Event("change"));
}

async function write(path) {
    type(await (await fetch(path)).text());
}

function shown() {
    const map = element("map");
    const score = (button) => [button.dataset.class, button.querySelector("meter").value];
    return {
        status: element("status").textContent,
        error: element("status").classList.contains("error"),
        scores: Array.from(element("scores").querySelectorAll("button"), score),
        explained: element("explained").textContent,
        map: {
            width: map.width,
            pixels: Array.from(map.getContext("2d").getImageData(0, 0, map.width, map.height).data),
        },
    };
}

async function visit(steps) {
    const after = [];
    try {
        for (const step of steps) {
            await step();
            await loaded();
            after.push(shown());
        }
        await post(JSON.stringify(after));
    } catch (error) {
        await post(`step ${after.length}: ${error}; the page says: ${element("status").textContent}`);
    }
}

function post(body) {
    return fetch("/results", { method: "POST", body });
}
