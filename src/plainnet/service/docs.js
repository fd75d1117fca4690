// The page of /docs, drawn from /openapi.json. Names and levels come from a training table, so all of it is set as text.
"use strict";

let token = "";

function element(tag, text, ...children) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

function headers(more = {}) {
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

function followed(document, schema) {
  return schema.$ref ? schema.$ref.slice(2).split("/").reduce((part, key) => part[key], document) : schema;
}

// Quoted for a shell: a quote ends the text, is written by itself, and begins it again.
function quoted(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function columns(row) {
  const body = element("tbody");
  for (const [name, cell] of Object.entries(row.properties)) {
    const type = [cell.type].flat().join(" or ");
    body.append(element("tr", "", element("td", name), element("td", type), element("td", cell.description)));
  }
  const head = element("tr", "", element("th", "column"), element("th", "type"), element("th", "what"));
  return element("table", "", element("thead", "", head), body);
}

function drawModel(document, path, operation) {
  const content = operation.requestBody.content["application/json"];
  const row = followed(document, content.schema.anyOf[0]);
  const example = JSON.stringify(content.example, null, 2);
  const area = element("textarea");
  area.value = example;
  area.spellcheck = false;
  area.setAttribute("aria-label", `Rows for ${path}`);
  const answer = element("pre");
  answer.setAttribute("role", "status");
  const button = element("button", "Predict");
  button.addEventListener("click", async () => {
    answer.textContent = "…";
    try {
      const reply = await fetch(path, { method: "POST", headers: headers({ "Content-Type": "application/json" }), body: area.value });
      answer.textContent = `${reply.status}\n${JSON.stringify(await reply.json(), null, 2)}`;
    } catch (error) {
      answer.textContent = `No answer: ${error.message}`;
    }
  });
  const secret = document.security ? ' -H "Authorization: Bearer $PLAINNET_TOKEN"' : "";
  const curl = `curl ${location.origin}${path}${secret} -H 'Content-Type: application/json' -d ${quoted(JSON.stringify(content.example))}`;
  return element("section", "", element("h2", `POST ${path}`), element("p", operation.summary), columns(row),
    element("h3", "Try it"), area, button, answer, element("h3", "In a shell"), element("pre", curl));
}

async function draw() {
  const trouble = document.getElementById("trouble");
  trouble.textContent = "";
  const reply = await fetch("/openapi.json", { headers: headers() });
  document.getElementById("token").hidden = reply.ok;
  if (!reply.ok) {
    trouble.textContent = token ? (await reply.json()).error : "";
    return;
  }
  const description = await reply.json();
  const models = document.getElementById("models");
  const paths = document.getElementById("paths");
  models.replaceChildren();
  paths.replaceChildren();
  for (const [path, methods] of Object.entries(description.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      if (path.startsWith("/models/")) models.append(drawModel(description, path, operation));
      else paths.append(element("tr", "", element("td", `${method.toUpperCase()} ${path}`), element("td", operation.summary)));
    }
  }
}

document.getElementById("token").addEventListener("submit", (event) => {
  event.preventDefault();
  token = document.getElementById("secret").value;
  draw();
});
draw();
