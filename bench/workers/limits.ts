import { run } from '../../test/metering/accuracy'

/** The limiters of some isolates and one Meter in simulated time: `GET /?isolates=9&limit=1000&load=1.25&minutes=4`. */
export default {
  async fetch(request: Request): Promise<Response> {
    const asked = new URL(request.url).searchParams
    const number = (name: string) => Number(asked.get(name))
    const restart = asked.get('restart') === 'true'
    return Response.json(
      await run(number('isolates'), number('limit'), number('load'), number('minutes'), restart),
    )
  },
}
