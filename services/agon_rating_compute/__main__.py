from agon_rating_compute.app import main

if __name__ == "__main__":
    main()
