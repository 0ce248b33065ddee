import { post } from "./lib/api.js";
import { $ } from "./lib/dom.js";

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("login-error").hidden = true;
  try {
    await post("/session", { token: $("token").value });
    const next = new URLSearchParams(location.search).get("next") ?? "/";
    location.assign(/^\/(?![/\\])/.test(next) ? next : "/");
  } catch (error) {
    $("login-error").textContent = error.message;
    $("login-error").hidden = false;
    $("token").select();
  }
});
$("token").focus();
