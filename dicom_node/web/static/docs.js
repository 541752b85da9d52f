// The page of the API: Swagger UI over the document that the node serves itself.
"use strict";

SwaggerUIBundle({
  domNode: document.getElementById("swagger"),
  url: document.getElementById("swagger").dataset.document,
  validatorUrl: null, // it would send the document to a server of others
});
