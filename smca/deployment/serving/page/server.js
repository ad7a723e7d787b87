// The server's answers; every failure becomes an Error whose message is a sentence for the reader.

const UNREACHABLE = "The server cannot be reached. Is `smca serve` still running?";
const TRIES = 6;

export async function facts() {
  return ask("model");
}

export async function predict(file) {
  const form = new FormData();
  form.append("image", file, file.name || "pasted.png");
  form.append("threshold", "0");
  return ask("predict", form);
}

export async function explain(file, { label, box }) {
  const form = new FormData();
  form.append("image", file, file.name || "pasted.png");
  form.append("label", label);
  form.append("box", JSON.stringify(box));
  return ask("explain", form);
}

async function ask(path, body) {
  for (let attempt = 1; ; attempt += 1) {
    let response;
    try {
      response = await fetch(path, body ? { method: "POST", body } : {});
    } catch {
      throw new Error(UNREACHABLE);
    }
    if (response.ok) return response.json();
    if (response.status !== 503 || attempt === TRIES) throw new Error(await reason(response));
    await new Promise((resolve) => setTimeout(resolve, 1000 * Number(response.headers.get("Retry-After") || 1)));
  }
}

async function reason(response) {
  const answer = await response.json().catch(() => ({}));
  return answer.error || `The server answered ${response.status} ${response.statusText}`;
}
