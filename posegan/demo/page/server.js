// What the page asks of the program.

export const LARGEST = 12 * 2 ** 20; // bytes; the program refuses more

// The answer to a question, or an Error whose message is a sentence for the visitor.
export async function ask(path, body) {
  let response;
  try {
    response = await fetch(path, body === undefined ? {} : { method: "POST", body });
  } catch {
    throw new Error("The program does not answer; is posegan demo still running?");
  }
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}
