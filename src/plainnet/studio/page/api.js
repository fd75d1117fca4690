// @ts-check
// The server's addresses. What it refuses is thrown as an Error whose message is the server's own sentence.

/** @param {Response} answer */
async function checked(answer) {
  if (answer.ok) return answer;
  let text = `The server answered ${answer.status}.`;
  try {
    text = (await answer.json()).error ?? text;
  } catch {
    // no JSON: the sentence above has to do
  }
  throw new Error(answer.status === 401 ? "This page has lost its key. Open the address that the terminal shows." : text);
}

/** @param {string} path @param {RequestInit} [options] */
async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("plainnet studio does not answer. Is it still running in the terminal?");
  }
  return checked(answer);
}

/** @param {string} path */
export const get = async (path) => (await ask(path)).json();

/** @param {string} path */
export const getText = async (path) => (await ask(path)).text();

/** @param {string} path @param {any} content */
export const post = async (path, content) =>
  (await ask(path, { method: "POST", body: JSON.stringify(content), headers: { "Content-Type": "application/json" } })).json();

/** @param {string} path @param {File} file */
export const postFile = async (path, file) => (await ask(`${path}?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file })).blob();

/**
 * Upload a file, telling how far it is.
 * @param {string} path @param {File} file @param {(share: number) => void} tell
 * @returns {Promise<any>}
 */
export function upload(path, file, tell) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `${path}?name=${encodeURIComponent(file.name)}`);
    request.upload.onprogress = (event) => tell(event.lengthComputable ? event.loaded / event.total : 0);
    request.onload = () => {
      /** @type {any} */
      let content = {};
      try {
        content = JSON.parse(request.responseText);
      } catch {
        // no JSON: answered below
      }
      if (request.status === 200) resolve(content);
      else reject(new Error(content.error ?? `The server answered ${request.status}.`));
    };
    request.onerror = () => reject(new Error("The upload was cut off. Is plainnet studio still running, and the disk not full?"));
    request.send(file);
  });
}

/** @param {string} run */
export const runPath = (run) => `/api/runs/${encodeURIComponent(run)}`;
