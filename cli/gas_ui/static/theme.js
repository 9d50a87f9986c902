// Before the first paint, so that nothing flashes: the chosen theme, else the system's.
{
  const chosen = localStorage.getItem("gas-theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
}
