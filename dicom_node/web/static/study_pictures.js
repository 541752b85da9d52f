// The pictures of a study on its page.
"use strict";

import { look } from "/static/result_viewer.js";

const pictures = document.getElementById("pictures");
const answer = await fetch(`${pictures.dataset.address}/pictures.json`);
if (answer.ok) await look(pictures.dataset.address, await answer.json(), pictures.dataset.files.split(","));
else if (answer.status === 401) location.assign("/login");
