// What is said in a simulated call: by the agent its greeting and what agents say, by the other side what people say.

type Line = { role: 'agent' | 'user'; text: string }

/** Greeting, then turn and turn about; the last is the agent's. Each may be said in one of several ways. */
const SCRIPTS: Record<string, readonly (readonly string[])[]> = {
  en: [
    ['Hello, this is your assistant. Is this a good time to talk?'],
    ['Yes, go ahead.', 'Sure, what is it about?', 'I have a minute.'],
    ['I am calling about your order. Would you like to have it delivered tomorrow?'],
    ['Tomorrow is fine.', 'Yes, please, in the morning.', 'Could it be in the afternoon?'],
    ['I have noted that. Thank you for your time, and goodbye.'],
  ],
  de: [
    ['Guten Tag, hier ist Ihr Assistent. Passt es Ihnen gerade?'],
    ['Ja, bitte.', 'Worum geht es denn?', 'Eine Minute habe ich.'],
    ['Es geht um Ihre Bestellung. Dürfen wir sie morgen liefern?'],
    ['Morgen passt gut.', 'Ja, gern am Vormittag.', 'Geht es auch am Nachmittag?'],
    ['Das habe ich notiert. Vielen Dank und auf Wiederhören.'],
  ],
  fr: [
    ['Bonjour, ici votre assistant. Est-ce que je vous dérange ?'],
    ['Non, je vous écoute.', 'C’est à quel sujet ?', 'J’ai une minute.'],
    ['Je vous appelle pour votre commande. Pouvons-nous vous livrer demain ?'],
    ['Demain me convient.', 'Oui, le matin de préférence.', 'Plutôt l’après-midi, si possible.'],
    ['C’est noté. Merci et au revoir.'],
  ],
  es: [
    ['Hola, soy su asistente. ¿Tiene un momento?'],
    ['Sí, dígame.', '¿De qué se trata?', 'Tengo un minuto.'],
    ['Le llamo por su pedido. ¿Podemos entregarlo mañana?'],
    ['Mañana está bien.', 'Sí, por la mañana, por favor.', '¿Podría ser por la tarde?'],
    ['Lo he anotado. Muchas gracias y hasta luego.'],
  ],
}

/** What is said in a call in that language (BCP 47), English for those that there is no script for. */
export function spokenAs(language: string, greeting: string | null, seed: number): Line[] {
  const script = SCRIPTS[language.slice(0, 2).toLowerCase()] ?? SCRIPTS.en ?? []
  return script.map((ways, i) => {
    const text = (i === 0 && greeting) || (ways[(seed >> i) % ways.length] ?? '')
    return { role: i % 2 === 0 ? 'agent' : 'user', text }
  })
}
