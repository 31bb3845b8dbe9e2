export function show(main) {
  main.append("curve");
}
