// A classic script, so that it runs before the first paint: a remembered theme never flashes the other one.
(() => {
  try {
    const theme = localStorage.getItem("littoral.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch (error) {
    if (error.name !== "SecurityError") throw error; // storage is switched off: the system's theme it is
  }
})();
